// Http1Parser: reads one HTTP/1.1 or 1.0 request after the other, with Beast; the body goes into one buffer.
//
// A body with a Content-Length gets a buffer of its size at once (untouched memory costs nothing), a chunked one grows.
// A body that is not wanted is read and thrown away. Belongs to one connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "memory/memory_budget.h"

namespace servoir::http {

class Http1Parser {
 public:
  static constexpr std::uint32_t kMaxHeaderBytes = 16384;

  // `padding` readable bytes follow each body. Bodies take their memory from `budget`; null: without limit.
  Http1Parser(std::uint64_t max_body, std::size_t padding, MemoryBudget* budget = nullptr);
  ~Http1Parser();

  enum class Step : std::uint8_t {
    kMore,  // all that can be used was used; more has to come, after what was not used
    kHead,  // the header is complete: method(), target() and so on are there. Call read again
    kDone,  // the request is complete
    kFailed,
  };
  // Reads on. *used is how many of the bytes were used up; the others have to be presented again, followed by more.
  [[nodiscard]] Step read(std::span<const std::byte> bytes, std::size_t* used);
  // Starts the next request.
  void reset();

  [[nodiscard]] bool head_done() const;
  // From kHead on.
  [[nodiscard]] std::string_view method() const;
  [[nodiscard]] std::string_view target() const;
  [[nodiscard]] bool keep_alive() const;
  [[nodiscard]] bool is_http_1_0() const;
  [[nodiscard]] bool expects_continue() const;
  // The Content-Length; 0 without one.
  [[nodiscard]] std::uint64_t announced_bytes() const;
  // Of the body, that have come.
  [[nodiscard]] std::uint64_t body_bytes() const;
  // The first value of this header, whatever the case of its name.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  // Whether the body is known to be larger than max_body; from then on it is thrown away.
  [[nodiscard]] bool is_too_large() const;
  // Whether the budget had nothing left for the body; from then on it is thrown away.
  [[nodiscard]] bool is_over_budget() const;
  void discard_body();
  // From kHead on: the body is given to `take` as it comes and is not kept. What it holds of the budget is the taker's
  // affair; its size is checked as always.
  void take_body_in_pieces(std::function<void(std::span<const std::byte>)> take);
  // The body has been used: gives its memory back before the request's end.
  void release_body();
  // At kDone.
  [[nodiscard]] std::string_view body() const;
  // At kFailed: what the client did wrong, and the HTTP status for it.
  [[nodiscard]] const Status& failure() const { return failure_; }
  [[nodiscard]] int failure_status() const { return failure_status_; }
  // Whether anything of the current request has come.
  [[nodiscard]] bool has_begun() const;

 private:
  class Message;
  const std::uint64_t max_body_;
  const std::size_t padding_;
  MemoryBudget* const budget_;
  std::unique_ptr<Message> message_;
  Status failure_;
  int failure_status_ = 400;
};

}  // namespace servoir::http
