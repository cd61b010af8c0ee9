// GrpcCall: one unary call, that is one HTTP/2 stream, from its first header to its trailers.
//
// Takes the message out of the DATA frames: in place when it lies in one chunk, else collected when it is small, else
// fed to the method's sink as it comes, so that a large message is never held. The answer is one message and trailers,
// or trailers alone. An answer that is ready before the client has sent everything (an error) leaves at once, and the
// client is told to stop (RST_STREAM with NO_ERROR).
//
// Belongs to the connection's thread. The connection owns it and reuses it for a later stream; it outlives the
// request's answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "memory/payload.h"
#include "net/grpc_method.h"
#include "net/grpc_wire.h"
#include "net/io_thread.h"
#include "net/output_queue.h"
#include "schedule/request.h"

namespace servoir {

class Http2Connection;

class GrpcCall final : public AnswerTarget {
 public:
  // Messages up to this size are collected when they come in pieces.
  static constexpr std::uint64_t kCollectBytes = 16384;

  explicit GrpcCall(Http2Connection* connection) : connection_(connection) {}

  // ---- for the method
  // Hands the request to the scheduler; GrpcMethod::on_answer follows.
  void submit(std::shared_ptr<Request> request);
  // One message, status 0.
  void reply(Payload message);
  // No message, this status.
  void fail(const Status& status);

  // ---- for the connection
  void open(std::int32_t stream);
  // Of the request or of its trailers. False: these are too many, and the stream is to be reset.
  [[nodiscard]] bool count_header(std::string_view name, std::string_view value);
  void on_header(std::string_view name, std::string_view value);
  void on_headers_end(bool end_of_stream);
  void on_data(std::span<const std::byte> data);
  void on_half_close();
  // The stream is gone. The call can be reused once is_idle().
  void on_stream_close();
  void on_sweep();
  // Ends the call with this status, whatever it is doing.
  void abort(const Status& status) { refuse("200", status); }
  [[nodiscard]] bool is_idle() const { return stream_ == 0 && !awaiting_answer_; }
  // on_answer() is still to come.
  [[nodiscard]] bool awaits_answer() const { return awaiting_answer_; }
  [[nodiscard]] std::int32_t stream() const { return stream_; }
  // Whether the client's bytes are placed as they come, so that the stream's window may be opened for more.
  [[nodiscard]] bool takes_more() const { return phase_ == Phase::kSink; }

  // Where the next DATA bytes belong, if that is known.
  [[nodiscard]] std::span<std::byte> place() const;
  // Whether the client has said that it will send no more.
  [[nodiscard]] bool half_closed() const { return half_closed_; }

  // DATA of the answer: what is left, and its next `bytes` bytes.
  [[nodiscard]] std::size_t answer_left() const { return (kGrpcPrefixBytes - prefix_sent_) + answer_.remaining(); }
  void send_answer(std::size_t bytes, OutputQueue* out);

  void on_answer(std::shared_ptr<Request> request) override;

  // Of the connection.
  std::size_t slot = 0;       // the call's place in the list of calls
  std::int32_t follower = 0;  // the stream whose DATA came behind the last of this one; 0: unknown

 private:
  enum class Phase : std::uint8_t {
    kHeaders,
    kPrefix,    // reading the 5 bytes before a message
    kCollect,   // reading a small message
    kSink,      // reading a large one
    kComplete,  // the message is read
    kDiscard,   // nothing more is of interest
  };
  enum class Outcome : std::uint8_t { kNone, kRequest, kReply, kStatus };

  void begin_message(std::span<const std::byte>& rest);
  void set_outcome(Outcome outcome);
  void settle();
  void send_status(const Status& status, std::string_view http_status);
  void refuse(std::string_view http_status, const Status& status);

  Http2Connection* const connection_;
  std::int32_t stream_ = 0;  // 0: none
  Phase phase_ = Phase::kHeaders;
  Outcome outcome_ = Outcome::kNone;
  bool is_post_ = false;
  bool is_grpc_ = false;
  bool bad_timeout_ = false;
  bool half_closed_ = false;
  bool answering_ = false;        // the answer has been given to HTTP/2
  bool awaiting_answer_ = false;  // the scheduler has the request
  std::uint8_t prefix_have_ = 0;
  std::uint8_t prefix_sent_ = 0;
  std::byte prefix_[kGrpcPrefixBytes];
  char answer_prefix_[kGrpcPrefixBytes];
  std::uint32_t header_bytes_ = 0;
  std::uint32_t last_progress_ = 0;  // IoThread::sweeps()
  std::uint32_t message_bytes_ = 0;
  std::uint32_t message_left_ = 0;
  const GrpcMethod* method_ = nullptr;
  std::string unknown_path_;
  std::string encoding_;  // grpc-encoding, when it is not identity
  Clock::time_point deadline_ = Clock::time_point::max();
  std::vector<std::byte> collected_;
  std::unique_ptr<MessageSink> sink_;
  std::shared_ptr<Request> request_;
  Payload answer_;
  Status status_;
};

}  // namespace servoir
