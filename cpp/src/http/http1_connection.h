// Http1Connection: HTTP/1.1 and 1.0, one exchange after the other.
//
// The route is chosen when a request's header is complete, so that a handler may take the body as it comes. Requests
// that are sent ahead (pipelining) wait in a bounded buffer. A client that has ended its side of the connection gets
// the answers to what it has sent; a client that has gone, which shows in a reset, cancels its request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/setting_names.h"
#include "http/exchange.h"
#include "http/http1_parser.h"
#include "http/http2_refusal.h"
#include "http/routes.h"
#include "memory/memory_budget.h"
#include "memory/payload.h"
#include "net/connection.h"

namespace servoir::http {

// What the connections of an HTTP/1 listener share; outlives them.
struct Http1Context {
  const Routes* routes = nullptr;
  std::uint64_t max_body_bytes = 100U << 20U;
  std::string limit_name = kMessageLimitName;  // for texts
  MemoryBudget* budget = nullptr;              // for bodies and answers; null: without limit
};

class Http1Connection final : public Connection, private Exchange {
 public:
  Http1Connection(ConnectionSet* set, WatchedFd socket, std::unique_ptr<ByteStream> stream, std::uint32_t listener,
                  std::shared_ptr<const Http1Context> context);

 protected:
  void on_input(std::span<const std::byte> bytes) override;
  void on_input_end() override;
  bool wants_input() const override { return pending_.size() - pending_used_ < kMaxPending; }
  bool is_waiting_for_peer() const override { return state_ == State::kReading; }
  void probe() override;
  void on_flush() override;
  bool has_work() const override;
  void on_goodbye() override;
  void on_closed() override;

 private:
  static constexpr std::size_t kMaxPending = 65536;
  enum class State : std::uint8_t {
    kReading,    // a request, or nothing
    kAnswering,  // the request is complete, its handler is at work
    kSending,    // the answer is being sent piece by piece
  };

  // Exchange
  std::string_view method() const override { return parser_.method(); }
  std::string_view target() const override { return parser_.target(); }
  std::optional<std::string_view> header(std::string_view name) const override { return parser_.header(name); }
  std::string_view body() const override { return parser_.body(); }
  void release_body() override { parser_.release_body(); }
  void add_header(std::string_view name, std::string_view value) override;
  void respond(int status, std::string_view content_type, Payload body, std::shared_ptr<MemoryShare> taken) override;
  std::shared_ptr<MemoryShare> new_share() const override { return std::make_shared<MemoryShare>(context_->budget); }
  void begin(int status, std::string_view content_type) override;
  void send(Payload piece) override;
  void end() override;
  std::size_t unsent() const override { return output().size(); }
  void hold() override;
  void let_go() override;
  bool is_live() const override { return !closed() && state_ != State::kReading && !refused_; }
  bool is_late() const override { return Connection::is_late(); }
  EventLoop* loop() const override { return Connection::loop(); }
  MemoryBudget* request_budget() override { return Connection::request_budget(); }
  bool take_for_body(std::uint64_t bytes) override;

  // Reads requests until one has to be waited for; returns how many bytes were used up.
  std::size_t read_requests(std::span<const std::byte> bytes);
  // The client has ended its side, and all that it has sent whole is answered.
  void end_requests();
  void on_head();
  // Refuses a request whose body cannot be taken.
  void check_body();
  void on_request();
  void answered();
  void read_on();
  void refuse(int status, const Status& why);
  void stop_feeding(const Status& why);
  void refuse_http2(std::span<const std::byte> bytes);
  void write_head(int status, std::string_view content_type, std::string_view length_field);
  void write_answer(int status, std::string_view content_type, Payload body);
  [[nodiscard]] bool keeps_open() const;
  // Whether the server has begun to end, and nothing has come after this request.
  [[nodiscard]] bool is_last() const;
  void after_answer();
  void forget_answers();

  const std::shared_ptr<const Http1Context> context_;
  Http1Parser parser_;
  Routes::Match route_;
  std::string headers_;                              // of the answer, that the handler added
  MemoryShare answers_;                              // that are not sent yet
  std::uint64_t body_taken_ = 0;                     // in it, for the body that is being written
  std::vector<std::shared_ptr<MemoryShare>> taken_;  // likewise
  std::vector<std::byte> pending_;
  std::size_t pending_used_ = 0;  // of its beginning
  std::size_t ahead_ = 0;         // bytes after the request that is shown to its handler; inside read_requests()
  State state_ = State::kReading;
  bool refused_ = false;                 // the request was refused before its end; the rest is thrown away
  bool held_back_ = false;               // further requests wait until the answers before them have been taken
  bool ending_ = false;                  // no further request is read
  bool feeding_ = false;                 // the handler is given the body piece by piece
  bool in_request_ = false;              // inside read_requests(), which goes on by itself
  std::unique_ptr<Http2Refusal> http2_;  // where the client speaks HTTP/2
  std::uint32_t held_ = 0;
  std::shared_ptr<Connection> self_;  // while held
};

}  // namespace servoir::http
