// Call: one gRPC call, that is one HTTP/2 stream, from its first header to its trailers.
//
// Takes messages out of the DATA frames: in place when a message lies in one chunk, else collected when it is small,
// else fed to the handler's sink as it comes, so that a large message is never held. The answer is any number of
// messages and trailers, or trailers alone. An answer of a unary call that is ready before the client has sent
// everything waits for that, since only then it is sure that nothing follows; an error leaves at once, and the client
// is told to stop (RST_STREAM with NO_ERROR).
//
// Belongs to the thread of its connection's loop. The session owns it and reuses it for a later stream.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/setting_names.h"
#include "base/status.h"
#include "grpc/handler.h"
#include "grpc/routes.h"
#include "grpc/wire.h"
#include "http/header_list.h"
#include "http/stream.h"
#include "memory/payload.h"
#include "net/event_loop.h"
#include "net/pace.h"
#include "net/timer.h"

namespace servoir::grpc {

// What the calls of a listener share; outlives them.
struct CallContext {
  const Routes* routes = nullptr;
  std::uint64_t max_message_bytes = 100U << 20U;
  std::string limit_name = kMessageLimitName;  // for texts
};

// What HTTP/2 sessions of a gRPC listener make their streams with.
[[nodiscard]] std::shared_ptr<const http::StreamFactory> make_call_factory(CallContext context);

class Call final : public http::Stream {
 public:
  // Messages up to this size are collected when they come in pieces.
  static constexpr std::uint64_t kCollectBytes = 16384;

  // Both outlive the call.
  Call(http::StreamHost* host, const CallContext* context) : host_(host), context_(context) {}

  // ---- for the handler
  // A header of the answer; before the first message of a stream, or before the end of a unary call.
  void add_header(std::string_view name, std::string_view value) { answer_header_.emplace_back(name, value); }
  // One more message of the answer.
  void send(Payload message);
  // The end of the answer. After it nothing is sent.
  void finish(const Status& status);
  // The one message of a unary call and the status OK.
  void reply(Payload message);
  // Bytes of messages that the client's window, or its connection, has no room for yet. A handler of a stream stops
  // sending while there are many and goes on with on_drained().
  [[nodiscard]] std::size_t unsent() const { return body_left_; }
  // While input is paused, a client that goes on sending is stopped by its window. Messages that have come already are
  // still shown.
  void pause_input() { input_paused_ = true; }
  void resume_input();
  // The call is in use on other threads: until let_go() it exists, even when its client has gone.
  void hold();
  void let_go();  // may be the end of this object
  [[nodiscard]] bool is_held() const { return held_ > 0; }
  // Whether anybody still waits for the answer.
  [[nodiscard]] bool is_live() const { return is_open() && !finished_; }

  // Whether its connection came when the server had begun to end.
  [[nodiscard]] bool is_late() const { return host_->is_late(); }
  [[nodiscard]] EventLoop* loop() const { return host_->connections()->loop(); }
  // What the requests of the same connection may have together, until they are answered.
  [[nodiscard]] MemoryBudget* request_budget() const { return host_->request_budget(); }
  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }
  // The first value that the client gave for a header of its own; nothing where there is none.
  [[nodiscard]] std::optional<std::string_view> metadata(std::string_view name) const { return metadata_.find(name); }
  // The handler's own; let go of when the call is over and not held.
  std::shared_ptr<void> state;

  // ---- Stream
  void on_open() override;
  void on_field(std::string_view name, std::string_view value) override;
  void on_header_end(std::size_t too_large) override;
  bool on_data(std::span<const std::byte> data) override;
  void on_half_close() override;
  void on_close() override;
  void on_sweep() override;
  void abort(const Status& why) override { refuse("200", why); }
  std::span<std::byte> next_destination() const override;
  std::size_t body_left() const override { return body_left_; }
  bool body_is_complete() const override { return finished_; }
  void send_body(std::size_t bytes, OutputQueue* out) override;
  std::size_t trailers(std::span<http::Field> fields) override;

 private:
  enum class Phase : std::uint8_t {
    kHeaders,
    kPrefix,    // reading the 5 bytes before a message
    kCollect,   // reading a small message
    kSink,      // reading a large one
    kComplete,  // the only message is read
    kDiscard,   // nothing more is of interest
  };

  [[nodiscard]] bool takes_many() const {
    return handler_ != nullptr && handler_->shape() == CallShape::kBidirectional && phase_ != Phase::kDiscard;
  }
  [[nodiscard]] bool is_unary() const { return handler_ == nullptr || handler_->shape() == CallShape::kUnary; }
  [[nodiscard]] bool is_inside_message() const;
  void begin_message(std::span<const std::byte>& rest);
  void end_message();
  void read(std::span<const std::byte> data);
  void feed_sink(std::span<const std::byte> piece);
  void settle();
  void send_header();
  // These and the handler's.
  [[nodiscard]] std::vector<http::Field> with_own(std::span<const http::Field> fields) const;
  void send_status_alone(std::string_view http_status);
  void refuse(std::string_view http_status, const Status& status);
  void drop_input();
  void start_deadline();
  [[nodiscard]] std::uint32_t sweeps() const { return host_->connections()->sweeps(); }
  // The client is given something to read.
  void expect_reader() { output_pace_.restart(sweeps(), Pace::least_of(body_left_)); }

  http::StreamHost* const host_;
  const CallContext* const context_;
  Phase phase_ = Phase::kHeaders;
  bool is_post_ = false;
  bool is_grpc_ = false;
  bool bad_timeout_ = false;
  bool half_closed_ = false;
  bool input_paused_ = false;
  bool finished_ = false;     // status_ is the answer's end
  bool header_sent_ = false;  // the answer has been given to HTTP/2
  std::uint8_t prefix_have_ = 0;
  std::uint8_t prefix_sent_ = 0;
  std::uint32_t held_ = 0;
  std::size_t paused_bytes_ = 0;  // came while input was paused
  std::array<std::byte, kGrpcPrefixBytes> prefix_;
  std::array<char, kGrpcPrefixBytes> answer_prefix_;
  Pace input_pace_;
  Pace output_pace_;
  std::uint32_t message_bytes_ = 0;
  std::uint32_t message_left_ = 0;
  const Handler* handler_ = nullptr;
  std::string unknown_path_;
  std::string encoding_;  // grpc-encoding, when it is not identity
  http::HeaderList metadata_;
  std::vector<std::pair<std::string, std::string>> answer_header_;
  Clock::time_point deadline_ = Clock::time_point::max();
  std::unique_ptr<Timer> deadline_timer_;  // of streams; the code that answers a unary call minds its deadline
  std::vector<std::byte> collected_;
  std::unique_ptr<MessageSink> sink_;
  // Messages of the answer, from first_message_ on; prefix_sent_ is of the first.
  std::vector<Payload> messages_;
  std::size_t first_message_ = 0;
  std::size_t body_left_ = 0;
  Status status_;
  std::string status_code_;  // the texts of the trailers
  std::string status_text_;
};

}  // namespace servoir::grpc
