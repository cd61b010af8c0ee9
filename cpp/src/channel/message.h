// Messages in the rings between server and worker.
//
// A record is a fixed head, then the arrays that it announces, back to back, all plain values in the machine's own byte
// order (both ends run on one machine and are checked to be of one build: kChannelVersion in the hello).
//
//   server → worker (task ring)
//     run    := RunHead  (InputHead Piece*piece_count)*inputs
//     room   := RoomHead                                     answer to need_room
//     called := CalledHead (OutputHead OutputPiece*piece_count)*outputs RowError*errors text(padded to 8)
//   worker → server (done ring)
//     done      := DoneHead (OutputHead OutputPiece*piece_count)*outputs RowError*errors text(padded to 8)
//     need_room := NeedRoomHead
//     call      := CallHead (OutputHead OutputPiece*piece_count)*inputs
//
// "text" is the error texts of all RowErrors, back to back.
// Offsets are from the start of the arena. Readers (MessageReader) check every count against the record's length, and
// nothing else: offsets are checked where they are used (ArenaView::resolve in the worker, Rooms in the scheduler).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir {

inline constexpr std::uint32_t kChannelVersion = 1;

enum class Kind : std::uint32_t {
  kRun = 1,
  kRoom = 2,
  kCalled = 3,
  kDone = 16,
  kNeedRoom = 17,
  kCall = 18,
};

// Consecutive rows of a stage's input, equally far apart.
struct Piece {
  std::uint64_t offset = 0;
  std::uint64_t row_bytes = 0;
  std::uint64_t rows = 0;
};

struct RunHead {
  Kind kind = Kind::kRun;
  std::uint32_t callee = 0;  // index of the function or model in the servable, as in the worker's hello
  std::uint64_t task = 0;    // number that the done record repeats
  std::uint32_t rows = 0;    // instances in the batch
  std::uint32_t inputs = 0;
  std::uint64_t room_offset = 0;  // where outputs may be written
  std::uint64_t room_bytes = 0;
};

struct InputHead {
  DataType dtype = DataType::kUnknown;
  std::uint8_t reserved[3] = {};
  std::uint32_t piece_count = 0;
  Shape row_shape;  // of one instance
};

struct RoomHead {
  Kind kind = Kind::kRoom;
  std::uint32_t failed = 0;  // 1: there is no memory; fail the rows with ResourceExhausted
  std::uint64_t task = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

// Consecutive rows of one output (or of one input of a call), packed, all of one dtype and shape. A row that failed has
// dtype kUnknown and row_bytes 0.
struct OutputPiece {
  std::uint64_t offset = 0;
  std::uint64_t row_bytes = 0;
  std::uint32_t rows = 0;
  DataType dtype = DataType::kUnknown;
  std::uint8_t reserved[3] = {};
  Shape row_shape;
};

struct OutputHead {
  std::uint32_t piece_count = 0;
  std::uint32_t reserved = 0;
};

struct RowError {
  std::uint32_t row = 0;
  Code code = Code::kInternal;
  std::uint8_t reserved[3] = {};
  std::uint64_t text_bytes = 0;
};

struct DoneHead {
  Kind kind = Kind::kDone;
  std::uint32_t rows = 0;
  std::uint64_t task = 0;
  std::uint32_t outputs = 0;  // 0 when every row failed
  std::uint32_t errors = 0;
  std::uint64_t run_ns = 0;  // time that the function or model took
};

struct NeedRoomHead {
  Kind kind = Kind::kNeedRoom;
  std::uint32_t reserved = 0;
  std::uint64_t task = 0;
  std::uint64_t bytes = 0;  // a room of at least this size is wanted, beside those the task has
};

// Model.call from a Python stage: rows for a model, whose inputs lie in rooms of the calling task.
struct CallHead {
  Kind kind = Kind::kCall;
  std::uint32_t callee = 0;
  std::uint64_t task = 0;  // of the calling task
  std::uint64_t call = 0;  // number that the called record repeats
  std::uint32_t rows = 0;
  std::uint32_t inputs = 0;
};

struct CalledHead {
  Kind kind = Kind::kCalled;
  std::uint32_t rows = 0;
  std::uint64_t call = 0;
  std::uint32_t outputs = 0;  // 0 when every row failed
  std::uint32_t errors = 0;
};

// Writes a record into a growing buffer; `bytes()` is copied into the ring in one go.
class MessageWriter {
 public:
  void clear() { buffer_.clear(); }
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0);
    append(&value, sizeof(T));
  }
  void put_text(std::string_view text) { append(text.data(), text.size()); }
  // Zeroes up to the next multiple of 8, so that the next value is aligned.
  void pad() { buffer_.resize((buffer_.size() + 7) & ~std::size_t{7}); }
  [[nodiscard]] std::span<const std::byte> bytes() const { return buffer_; }

 private:
  void append(const void* from, std::size_t bytes) {
    const std::size_t end = buffer_.size();
    buffer_.resize(end + bytes);
    if (bytes > 0) std::memcpy(buffer_.data() + end, from, bytes);
  }

  std::vector<std::byte> buffer_;
};

// Reads a record; every read is bounded by the record's end.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::byte> record) : rest_(record) {}

  [[nodiscard]] std::uint64_t remaining() const { return rest_.size(); }
  // The kind of the record, without moving on; Internal if it is shorter than that.
  [[nodiscard]] Result<Kind> kind() const;
  // The next value, or nullptr at the record's end. Points into the record.
  template <typename T>
  [[nodiscard]] const T* get() {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0 && alignof(T) <= 8);
    if (rest_.size() < sizeof(T)) return nullptr;
    const auto* value = reinterpret_cast<const T*>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  template <typename T>
  [[nodiscard]] std::optional<std::span<const T>> get_array(std::uint64_t count) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0 && alignof(T) <= 8);
    if (count > rest_.size() / sizeof(T)) return std::nullopt;
    std::span<const T> values(reinterpret_cast<const T*>(rest_.data()), count);
    rest_ = rest_.subspan(count * sizeof(T));
    return values;
  }
  [[nodiscard]] std::optional<std::string_view> get_text(std::uint64_t bytes) {
    if (bytes > rest_.size()) return std::nullopt;
    std::string_view text(reinterpret_cast<const char*>(rest_.data()), bytes);
    rest_ = rest_.subspan(bytes);
    return text;
  }

 private:
  std::span<const std::byte> rest_;
};

// The three records that both ends build and take apart, as values. `read_*` refuse a record whose counts do not fit.
struct RowsResult {      // done and called
  std::uint64_t id = 0;  // task or call
  std::uint32_t rows = 0;
  std::uint64_t run_ns = 0;
  std::vector<std::vector<OutputPiece>> outputs;
  struct Failure {
    std::uint32_t row;
    Code code;
    std::string text;
  };
  std::vector<Failure> failures;
};
void write_done(const RowsResult& result, MessageWriter* out);
void write_called(const RowsResult& result, MessageWriter* out);
[[nodiscard]] Status read_rows_result(std::span<const std::byte> record, RowsResult* out);  // reuses out's memory

struct CallRequest {
  std::uint64_t task = 0;
  std::uint64_t call = 0;
  std::uint32_t callee = 0;
  std::uint32_t rows = 0;
  std::vector<std::vector<OutputPiece>> inputs;
};
void write_call(const CallRequest& call, MessageWriter* out);
[[nodiscard]] Status read_call(std::span<const std::byte> record, CallRequest* out);

struct RunTask {
  RunHead head;
  struct Input {
    DataType dtype = DataType::kUnknown;
    Shape row_shape;
    std::vector<Piece> pieces;  // their rows add up to head.rows (read_run checks it)
  };
  std::vector<Input> inputs;
};
void write_run(const RunTask& task, MessageWriter* out);
[[nodiscard]] Status read_run(std::span<const std::byte> record, RunTask* out);

}  // namespace servoir
