// Messages in the rings between server and worker.
//
// A record is a fixed head, followed by the arrays that the head announces. All values are plain values in the
// machine's own byte order: both ends run on the same machine, and the hello with its kChannelVersion shows that they
// are of the same build.
//
//   server → worker (task ring)
//     run    := RunHead  (InputHead RowRun*piece_count)*inputs
//     room   := RoomHead                                     answer to need_room
//     called := CalledHead (OutputHead OutputPiece*piece_count)*outputs RowError*errors text(padded to 8)
//   worker → server (done ring)
//     done      := DoneHead (OutputHead OutputPiece*piece_count)*outputs RowError*errors text(padded to 8)
//     need_room := NeedRoomHead
//     call      := CallHead u64*released (OutputHead OutputPiece*piece_count)*inputs
//
// "text" has the error texts of all RowErrors, without anything between them.
// Offsets count from the start of the arena. MessageReader checks every count against the record's length, and nothing
// else. Offsets are checked where they are used: in the worker by ArenaView::resolve(), in the scheduler by locate().
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

inline constexpr std::uint32_t kChannelVersion = 2;

enum class RecordKind : std::uint32_t {
  kRun = 1,
  kRoom = 2,
  kCalled = 3,
  kDone = 16,
  kNeedRoom = 17,
  kCall = 18,
};

// Consecutive rows of a stage's input, equally far apart.
struct RowRun {
  std::uint64_t offset = 0;
  std::uint64_t row_bytes = 0;
  std::uint64_t rows = 0;
};

struct RunHead {
  RecordKind kind = RecordKind::kRun;
  std::uint32_t callee = 0;  // the index of the function or model in the servable, as in the worker's hello
  std::uint64_t task = 0;    // a number that the done record repeats
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
  RecordKind kind = RecordKind::kRoom;
  std::uint32_t failed = 0;  // 1: there is no memory; fail the rows with ResourceExhausted
  std::uint64_t task = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t used = 0;  // if it failed: bytes of the arena in use, and its limit
  std::uint64_t limit = 0;
};

// Consecutive rows of an output, or of an input of a call. They are packed and have the same dtype and shape. A row
// that failed has dtype kUnknown and row_bytes 0.
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
  RecordKind kind = RecordKind::kDone;
  std::uint32_t rows = 0;
  std::uint64_t task = 0;
  std::uint32_t outputs = 0;  // 0 when every row failed
  std::uint32_t errors = 0;
  std::uint64_t run_ns = 0;  // time that the function or model took
};

struct NeedRoomHead {
  RecordKind kind = RecordKind::kNeedRoom;
  std::uint32_t reserved = 0;
  std::uint64_t task = 0;
  std::uint64_t bytes = 0;  // the task wants another room of at least this size
};

// Model.call from a Python stage: rows for a model. The inputs lie in rooms of the calling task.
struct CallHead {
  RecordKind kind = RecordKind::kCall;
  std::uint32_t callee = 0;
  std::uint64_t task = 0;  // of the calling task
  std::uint64_t call = 0;  // a number that the called record repeats
  std::uint32_t rows = 0;
  std::uint32_t inputs = 0;
  // How many numbers follow, of earlier calls of the task whose results it does not need any more.
  std::uint64_t released = 0;
};

struct CalledHead {
  RecordKind kind = RecordKind::kCalled;
  std::uint32_t rows = 0;
  std::uint64_t call = 0;
  std::uint32_t outputs = 0;  // 0 when every row failed
  std::uint32_t errors = 0;
};

// Writes a record into a growing buffer. bytes() is then copied into the ring at once.
class MessageWriter {
 public:
  void clear() { buffer_.clear(); }
  template <typename T>
  void put(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0);
    append(&value, sizeof(T));
  }
  void put_text(std::string_view text) { append(text.data(), text.size()); }
  // Appends zeroes up to the next multiple of 8, so that the next value is aligned.
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

// Reads a record. No read goes beyond the record's end.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::byte> record) : rest_(record) {}

  [[nodiscard]] std::uint64_t remaining() const { return rest_.size(); }
  // The kind of the record, without moving on. Internal if the record is too short to have a kind.
  [[nodiscard]] Result<RecordKind> kind() const;
  // The next value, inside of the record, or nullptr at the record's end.
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

// The records that both ends write and read, as values. The read_… functions refuse a record whose counts do not fit.
struct RowsResult {      // of a done or called record
  std::uint64_t id = 0;  // the number of the task or call
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
[[nodiscard]] Status read_rows_result(std::span<const std::byte> record, RowsResult* out);  // reuses the memory of *out

struct CallRequest {
  std::uint64_t task = 0;
  std::uint64_t call = 0;
  std::uint32_t callee = 0;
  std::uint32_t rows = 0;
  std::vector<std::uint64_t> released;
  std::vector<std::vector<OutputPiece>> inputs;
};
void write_call(const CallRequest& call, MessageWriter* out);
[[nodiscard]] Status read_call(std::span<const std::byte> record, CallRequest* out);

struct RunTask {
  RunHead head;
  struct Input {
    DataType dtype = DataType::kUnknown;
    Shape row_shape;
    std::vector<RowRun> pieces;  // their rows add up to head.rows, which read_run() checks
  };
  std::vector<Input> inputs;
};
void write_run(const RunTask& task, MessageWriter* out);
[[nodiscard]] Status read_run(std::span<const std::byte> record, RunTask* out);

}  // namespace servoir
