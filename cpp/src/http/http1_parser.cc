#include "http/http1_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "http/header_list.h"

namespace servoir::http {
namespace {

namespace beast_http = boost::beast::http;
using boost::beast::string_view;
using ErrorCode = boost::beast::error_code;

constexpr std::uint64_t kFirstGrowth = 16384;

}  // namespace

class Http1Parser::Message final : public beast_http::basic_parser<true> {
 public:
  Message(std::uint64_t max_body, std::size_t padding, MemoryBudget* budget)
      : share(budget), max_body_(max_body), padding_(padding) {
    eager(true);
    header_limit(kMaxHeaderBytes);
    body_limit(std::numeric_limits<std::uint64_t>::max());  // checked by this parser itself, which goes on reading
  }

  std::string method;
  std::string target;
  HeaderList headers;
  std::function<void(std::span<const std::byte>)> take_piece;
  int version = 11;
  bool expects_continue = false;
  std::optional<std::string> transfer_coding;  // what is not just "chunked"
  std::optional<std::string> content_coding;   // what is not "identity"
  int hosts = 0;
  bool chunked_seen = false;
  bool head_seen = false;
  bool discard = false;
  bool too_large = false;
  bool over_budget = false;
  MemoryShare share;  // of the body
  std::unique_ptr<char[]> body;
  std::uint64_t body_bytes = 0;

 private:
  void on_request_impl(beast_http::verb /*verb*/, string_view name, string_view path, int number,
                       ErrorCode& /*error*/) override {
    version = number;
    method.assign(name.data(), name.size());
    target.assign(path.data(), path.size());
  }
  void on_response_impl(int /*code*/, string_view /*reason*/, int /*version*/, ErrorCode& /*error*/) override {}
  void on_field_impl(beast_http::field name, string_view text, string_view value, ErrorCode& /*error*/) override {
    using boost::beast::iequals;
    headers.add({text.data(), text.size()}, {value.data(), value.size()});
    if (name == beast_http::field::expect) {
      if (iequals(value, "100-continue")) expects_continue = true;
    } else if (name == beast_http::field::transfer_encoding) {
      if (!iequals(value, "chunked") || chunked_seen) transfer_coding.emplace(value.data(), value.size());
      chunked_seen = true;
    } else if (name == beast_http::field::host) {
      ++hosts;
    } else if (name == beast_http::field::content_encoding && !iequals(value, "identity")) {
      content_coding.emplace(value.data(), value.size());
    }
  }
  void on_header_impl(ErrorCode& /*error*/) override {}

  void on_body_init_impl(const boost::optional<std::uint64_t>& length, ErrorCode& /*error*/) override {
    if (length && !too_large && !discard && !take_piece) allocate(*length);
  }
  std::size_t on_body_impl(string_view bytes, ErrorCode& /*error*/) override { return take(bytes); }
  void on_chunk_header_impl(std::uint64_t size, string_view /*extensions*/, ErrorCode& /*error*/) override {
    if (size > max_body_ - std::min(body_bytes, max_body_)) {
      too_large = true;
      body.reset();
      share.clear();
    }
  }
  std::size_t on_chunk_body_impl(std::uint64_t /*left*/, string_view bytes, ErrorCode& /*error*/) override {
    return take(bytes);
  }
  void on_finish_impl(ErrorCode& /*error*/) override {}

  void allocate(std::uint64_t bytes) {
    auto larger = std::make_unique_for_overwrite<char[]>(bytes + padding_);
    if (body_bytes > 0) std::memcpy(larger.get(), body.get(), body_bytes);
    body = std::move(larger);
    capacity_ = bytes;
  }

  std::size_t take(string_view bytes) {
    if (discard || too_large || over_budget) return bytes.size();
    if (take_piece) {
      body_bytes += bytes.size();  // for the limit
      take_piece(std::as_bytes(std::span(bytes.data(), bytes.size())));
      return bytes.size();
    }
    if (!share.add(bytes.size())) {
      over_budget = true;
      body.reset();
      body_bytes = 0;
      share.clear();
      return bytes.size();
    }
    if (bytes.size() > capacity_ - body_bytes) {
      allocate(std::max({2 * capacity_, body_bytes + bytes.size(), kFirstGrowth}));
    }
    std::memcpy(body.get() + body_bytes, bytes.data(), bytes.size());
    body_bytes += bytes.size();
    return bytes.size();
  }

  const std::uint64_t max_body_;
  const std::size_t padding_;
  std::uint64_t capacity_ = 0;
};

Http1Parser::Http1Parser(std::uint64_t max_body, std::size_t padding, MemoryBudget* budget)
    : max_body_(max_body), padding_(padding), budget_(budget) {}

Http1Parser::~Http1Parser() = default;

void Http1Parser::reset() { message_.reset(); }

bool Http1Parser::has_begun() const { return message_ != nullptr; }

Http1Parser::Step Http1Parser::read(std::span<const std::byte> bytes, std::size_t* used) {
  *used = 0;
  if (!message_) {
    // Line ends between requests are to be ignored.
    while (!bytes.empty() && (bytes.front() == std::byte{'\r'} || bytes.front() == std::byte{'\n'})) {
      bytes = bytes.subspan(1);
      ++*used;
    }
    if (bytes.empty()) return Step::kMore;
    message_ = std::make_unique<Message>(max_body_, padding_, budget_);
  }
  ErrorCode error;
  if (!message_->is_header_done()) {
    message_->eager(false);  // stop after the header
    *used += message_->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
  } else {
    message_->eager(true);
    while (!message_->is_done() && *used < bytes.size() && !error) {
      *used += message_->put(boost::asio::const_buffer(bytes.data() + *used, bytes.size() - *used), error);
    }
  }
  if (error && error != beast_http::error::need_more) {
    const bool long_header = error == beast_http::error::header_limit;
    failure_status_ = long_header ? 431 : 400;
    failure_ = Status::InvalidArgument(long_header ? "the request's header is larger than " +
                                                         std::to_string(kMaxHeaderBytes) + " bytes"
                                                   : "this is not an HTTP/1.1 request: " + error.message());
    return Step::kFailed;
  }
  if (message_->is_header_done() && !message_->head_seen) {
    // There is no telling where the body ends, and it must not be taken for the next request.
    if (message_->transfer_coding) {
      failure_status_ = 501;
      failure_ = Status::Unimplemented("the transfer-encoding is '" + *message_->transfer_coding +
                                       "'; send the body with a content-length, or chunked and nothing else");
      return Step::kFailed;
    }
    if (message_->content_coding) {
      failure_status_ = 415;
      failure_ = Status::Unimplemented("the content-encoding is '" + *message_->content_coding +
                                       "'; send the body as it is, without compression");
      return Step::kFailed;
    }
    // RFC 9112: nobody between the client and us may see another request than we do.
    const bool is_1_0 = message_->version < 11;
    if (message_->hosts > 1 || (message_->hosts == 0 && !is_1_0) || (is_1_0 && message_->chunked_seen)) {
      failure_status_ = 400;
      failure_ = Status::InvalidArgument(
          message_->hosts > 1 ? "the request has " + std::to_string(message_->hosts) + " Host headers; send one"
          : message_->hosts == 0 && !is_1_0
              ? "the request has no Host header, which HTTP/1.1 asks for; send for example 'Host: localhost'"
              : "the transfer-encoding is 'chunked', which HTTP/1.0 does not know; send a content-length");
      return Step::kFailed;
    }
    message_->head_seen = true;
    if (const auto length = message_->content_length(); length && *length > max_body_) message_->too_large = true;
    return Step::kHead;
  }
  if (message_->is_done()) return Step::kDone;
  // What is left over is the beginning of a chunk's head, or of the trailer fields.
  if (message_->is_header_done() && bytes.size() - *used > kMaxHeaderBytes) {
    failure_ = Status::InvalidArgument("the head of a chunk of the request's body is larger than " +
                                       std::to_string(kMaxHeaderBytes) + " bytes");
    failure_status_ = 400;
    return Step::kFailed;
  }
  return Step::kMore;
}

bool Http1Parser::head_done() const { return message_ && message_->head_seen; }
std::string_view Http1Parser::method() const { return message_->method; }
std::string_view Http1Parser::target() const { return message_->target; }
bool Http1Parser::keep_alive() const { return message_->keep_alive(); }
bool Http1Parser::is_http_1_0() const { return message_->version < 11; }
bool Http1Parser::expects_continue() const { return message_->expects_continue; }
std::uint64_t Http1Parser::announced_bytes() const { return message_->content_length().value_or(0); }
std::uint64_t Http1Parser::body_bytes() const { return message_->body_bytes; }
bool Http1Parser::is_too_large() const { return message_->too_large; }
bool Http1Parser::is_over_budget() const { return message_->over_budget; }
std::optional<std::string_view> Http1Parser::header(std::string_view name) const {
  return message_->headers.find(name);
}
void Http1Parser::take_body_in_pieces(std::function<void(std::span<const std::byte>)> take) {
  message_->take_piece = std::move(take);
  message_->body.reset();
}
void Http1Parser::discard_body() {
  message_->discard = true;
  release_body();
}
void Http1Parser::release_body() {
  message_->body.reset();
  message_->body_bytes = 0;
  message_->share.clear();
}
std::string_view Http1Parser::body() const {
  if (message_->body == nullptr) return {};
  return {message_->body.get(), message_->body_bytes};
}

}  // namespace servoir::http
