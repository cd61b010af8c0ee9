// Exchange: one HTTP request and its answer, as a handler sees them. HttpHandler: what a route does with them.
//
// Everything runs in the thread of the exchange's loop. A handler serves all exchanges of all threads: its methods are
// const and keep what belongs to an exchange in Exchange::state.
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

#include "base/status.h"
#include "memory/memory_budget.h"
#include "memory/payload.h"
#include "net/event_loop.h"

namespace servoir::http {

// Readable bytes after each body; their value does not matter.
inline constexpr std::size_t kBodyPadding = 64;

// The value of Retry-After where the server is about to end: seconds, until another one may be there.
inline constexpr std::string_view kRetryAfter = "1";

class Exchange {
 public:
  static constexpr std::size_t kMostParameters = 4;

  // ---- the request
  [[nodiscard]] virtual std::string_view method() const = 0;
  // As the client sent it: path, and query after a '?'.
  [[nodiscard]] virtual std::string_view target() const = 0;
  // Begins with '/', unless it is the '*' of OPTIONS or no path at all.
  [[nodiscard]] std::string_view path() const;
  [[nodiscard]] std::string_view query() const;
  // What stands for the route's {…}, in their order; still percent-encoded.
  [[nodiscard]] std::string_view parameter(std::size_t index) const { return parameters_[index]; }
  // The first value of this header, whatever the case of its name.
  [[nodiscard]] virtual std::optional<std::string_view> header(std::string_view name) const = 0;
  // Whole, with kBodyPadding readable bytes after it; empty if the handler took it in pieces.
  [[nodiscard]] virtual std::string_view body() const = 0;
  // The body has been used up: gives its memory back before the exchange's end.
  virtual void release_body() = 0;

  // ---- the answer, whole
  // A header of the answer; before respond() or begin().
  virtual void add_header(std::string_view name, std::string_view value) = 0;
  void respond(int status, std::string_view content_type, Payload body) {
    respond(status, content_type, std::move(body), nullptr);
  }
  // Whether the body may have so many bytes more; asked while it is written.
  [[nodiscard]] virtual bool take_for_body(std::uint64_t bytes) = 0;
  // For an answer that another thread has written: the memory for its body has been taken already, from new_share().
  virtual void respond(int status, std::string_view content_type, Payload body, std::shared_ptr<MemoryShare> taken) = 0;
  [[nodiscard]] virtual std::shared_ptr<MemoryShare> new_share() const = 0;
  // ---- or piece by piece, as long as is_live()
  virtual void begin(int status, std::string_view content_type) = 0;
  virtual void send(Payload piece) = 0;
  virtual void end() = 0;
  // Bytes that the client has not taken yet. A handler stops sending while there are many and goes on with
  // on_drained().
  [[nodiscard]] virtual std::size_t unsent() const = 0;

  // The exchange is in use on other threads: until let_go() it exists, even when its client has gone.
  virtual void hold() = 0;
  virtual void let_go() = 0;  // may be the end of this object
  // Whether the client still waits for the answer, or for more of it.
  [[nodiscard]] virtual bool is_live() const = 0;
  // Whether its connection came when the server had begun to end.
  [[nodiscard]] virtual bool is_late() const = 0;
  [[nodiscard]] virtual EventLoop* loop() const = 0;
  // What the requests of the same connection may have together, until they are answered.
  [[nodiscard]] virtual MemoryBudget* request_budget() = 0;
  // Belongs to the handler; released with the exchange.
  std::shared_ptr<void> state;

 protected:
  ~Exchange() = default;
  std::array<std::string_view, kMostParameters> parameters_;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Whether on_body() takes the body as it comes. Otherwise it is collected. An answer waits for on_request() all the
  // same; on_cancel() follows where the body's end does not come.
  [[nodiscard]] virtual bool takes_body_in_pieces() const { return false; }
  virtual void on_body(Exchange& /*exchange*/, std::span<const std::byte> /*bytes*/) const {}
  // The request is complete.
  virtual void on_request(Exchange& exchange) const = 0;
  // What was sent has left.
  virtual void on_drained(Exchange& /*exchange*/) const {}
  // The exchange is over although it was not answered: its client has gone, or the server is closing the port.
  virtual void on_cancel(Exchange& /*exchange*/, const Status& /*why*/) const {}
};

// How a family of routes writes its errors.
class ErrorWriter {
 public:
  virtual ~ErrorWriter() = default;
  // The body of an answer that says this; returns the HTTP status that goes with the code.
  virtual int write(const Status& error, Payload* body) const = 0;
  [[nodiscard]] virtual std::string_view content_type() const { return "application/json"; }
};

}  // namespace servoir::http
