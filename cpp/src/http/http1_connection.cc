#include "http/http1_connection.h"

#include <array>
#include <cstdio>
#include <utility>

#include "http/reason_phrase.h"

namespace servoir::http {
namespace {

constexpr std::size_t kCopiedBody = 8192;

void append_copied(Payload body, OutputQueue* out) {
  while (!body.empty()) {
    const std::string_view run = body.front(body.remaining(), nullptr);
    out->append(run);
    body.consume(run.size());
  }
}

}  // namespace

Http1Connection::Http1Connection(ConnectionSet* set, WatchedFd socket, std::unique_ptr<ByteStream> stream,
                                 std::uint32_t listener, std::shared_ptr<const Http1Context> context)
    : Connection(set, std::move(socket), std::move(stream), listener),
      context_(std::move(context)),
      parser_(context_->max_body_bytes, kBodyPadding, context_->budget),
      answers_(context_->budget) {}

// ---- the request

void Http1Connection::on_input(std::span<const std::byte> bytes) {
  if (http2_ != nullptr) {
    refuse_http2(bytes);
    return;
  }
  if (pending_.empty()) {
    const std::size_t used = read_requests(bytes);
    pending_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(used), bytes.end());
  } else {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    pending_used_ += read_requests(std::span(pending_).subspan(pending_used_));
    // Moved only when it is at most as much as what has been used: many small requests may lie there.
    if (pending_used_ * 2 >= pending_.size()) {
      pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(pending_used_));
      pending_used_ = 0;
    }
  }
  if (input_ended() && state_ == State::kReading && !held_back_ && !ending_ && !closed()) end_requests();
}

void Http1Connection::end_requests() {
  ending_ = true;
  if (parser_.has_begun() && !refused_) {
    if (!parser_.head_done()) route_.errors = context_->routes->default_errors();
    refuse(400, Status::InvalidArgument(
                    !parser_.head_done()
                        ? "the client has ended its side of the connection within the request's header, which ends "
                          "with an empty line"
                    : parser_.announced_bytes() == 0
                        ? "the client has ended its side of the connection before the last chunk of the request's body"
                        : "the client has ended its side of the connection within the request's body: its "
                          "Content-Length is " +
                              std::to_string(parser_.announced_bytes()) + ", of which " +
                              std::to_string(parser_.body_bytes()) + " bytes came"));
  }
  close_after_output();
}

std::size_t Http1Connection::read_requests(std::span<const std::byte> bytes) {
  std::size_t all_used = 0;
  while (state_ == State::kReading && !ending_ && !closed()) {
    // A client that sends requests ahead and reads no answers may not make us keep them all.
    if (output().size() >= kHighWater) {
      held_back_ = true;
      return all_used;
    }
    std::size_t used = 0;
    const bool had_begun = parser_.has_begun();
    const std::span<const std::byte> presented = bytes.subspan(all_used);
    const Http1Parser::Step step = parser_.read(presented, &used);
    all_used += used;
    ahead_ = bytes.size() - all_used;
    if (step == Http1Parser::Step::kMore && !had_begun && parser_.has_begun()) {
      expect(Pace::kLeastBytes, set()->head_sweeps());
    }
    if (step == Http1Parser::Step::kMore) {
      if (parser_.has_begun() && parser_.head_done()) check_body();
      return all_used;
    }
    if (step == Http1Parser::Step::kFailed && !parser_.head_done() && Http2Refusal::is_for(presented)) {
      parser_.reset();
      refuse_http2(presented);
      return bytes.size();
    }
    if (step == Http1Parser::Step::kFailed) {
      ending_ = true;
      if (!parser_.head_done()) {
        route_ = Routes::Match();
        route_.errors = context_->routes->default_errors();
      }
      if (!refused_) {
        // What would have been taken: RFC 9110, section 15.5.16.
        if (parser_.failure_status() == 415) add_header("Accept-Encoding", "identity");
        refuse(parser_.failure_status(), parser_.failure());
      }
      close_after_output();
      return bytes.size();
    }
    if (step == Http1Parser::Step::kHead) {
      on_head();
    } else {
      on_request();
    }
  }
  return ending_ ? bytes.size() : all_used;
}

void Http1Connection::on_head() {
  expect(Pace::least_of(parser_.announced_bytes()), set()->idle_sweeps());  // the body
  route_ = context_->routes->find(method(), path());
  parameters_ = route_.parameters;
  if (route_.handler == nullptr) {
    refuse(route_.allow.empty() ? 404 : 405, route_.refusal);
    return;
  }
  check_body();
  if (refused_) return;
  if (route_.handler->takes_body_in_pieces()) {
    feeding_ = true;
    parser_.take_body_in_pieces([this](std::span<const std::byte> bytes) { route_.handler->on_body(*this, bytes); });
  }
  if (parser_.expects_continue() && !parser_.is_http_1_0()) {
    output().append("HTTP/1.1 100 Continue\r\n\r\n");
    need_flush();
  }
}

void Http1Connection::check_body() {
  if (refused_) return;
  if (parser_.is_too_large()) {
    refuse(413, Status::InvalidArgument(
                    "the request's body is larger than the limit of " + std::to_string(context_->max_body_bytes) +
                    " bytes: send less in one request, or start the server with a larger " + context_->limit_name));
  } else if (parser_.is_over_budget()) {
    refuse(503,
           Status::Unavailable("the bodies and answers of other REST requests take all the memory that there is for "
                               "them at the moment; try again later, or send less in one request"));
  }
}

void Http1Connection::on_request() {
  check_body();
  if (refused_) {
    refused_ = false;
    parser_.reset();
    return;
  }
  state_ = State::kAnswering;
  feeding_ = false;
  in_request_ = true;
  route_.handler->on_request(*this);
  in_request_ = false;
}

void Http1Connection::read_on() {
  loop()->post([self = std::static_pointer_cast<Http1Connection>(shared_from_this())] {
    if (!self->closed() && self->state_ == State::kReading) self->on_input({});
    self->need_flush();  // input may be wanted again
  });
}

void Http1Connection::refuse(int status, const Status& why) {
  Payload body;
  (void)route_.errors->write(why, &body);
  // A client that waits for "100 Continue" may or may not send its body now; nobody can tell what comes next.
  if (parser_.head_done() && parser_.expects_continue()) ending_ = true;
  if (parser_.head_done()) parser_.discard_body();
  stop_feeding(why);
  if (status == 405) add_header("Allow", route_.allow);
  write_answer(status, route_.errors->content_type(), std::move(body));
  refused_ = true;
}

void Http1Connection::refuse_http2(std::span<const std::byte> bytes) {
  if (http2_ == nullptr) http2_ = std::make_unique<Http2Refusal>(*context_->routes->default_errors());
  // Answers wait for nothing, so a client that has ended its side has them all.
  ending_ = !http2_->read(bytes, &output()) || input_ended();
  need_flush();
  if (ending_) close_after_output();
}

void Http1Connection::stop_feeding(const Status& why) {
  if (!feeding_) return;
  feeding_ = false;
  route_.handler->on_cancel(*this, why);
  state.reset();
}

// ---- the answer

void Http1Connection::add_header(std::string_view name, std::string_view value) {
  headers_.append("\r\n").append(name).append(": ").append(value);
}

void Http1Connection::forget_answers() {
  answers_.clear();
  taken_.clear();
}

bool Http1Connection::take_for_body(std::uint64_t bytes) {
  if (!answers_.add(bytes)) return false;
  body_taken_ += bytes;
  return true;
}

void Http1Connection::respond(int status, std::string_view content_type, Payload body,
                              std::shared_ptr<MemoryShare> taken) {
  if (!is_live() || state_ != State::kAnswering) return;
  const std::uint64_t body_taken = std::exchange(body_taken_, 0);
  if (taken != nullptr) {
    taken_.push_back(std::move(taken));
  } else if (body.size() > body_taken && !answers_.add(body.size() - body_taken)) {
    const std::string bytes = std::to_string(body.size());
    body = Payload();
    headers_.clear();
    content_type = route_.errors->content_type();
    status = route_.errors->write(
        Status::Unavailable("the answer of " + bytes +
                            " bytes finds no memory: other REST clients have not read theirs; try again later, or ask "
                            "for less in one request"),
        &body);
  }
  write_answer(status, content_type, std::move(body));
  answered();
}

void Http1Connection::begin(int status, std::string_view content_type) {
  if (!is_live() || state_ != State::kAnswering) return;
  state_ = State::kSending;
  if (parser_.is_http_1_0()) ending_ = true;  // the body ends with the connection
  write_head(status, content_type, parser_.is_http_1_0() ? "" : "\r\nTransfer-Encoding: chunked");
  need_flush();
}

void Http1Connection::send(Payload piece) {
  if (!is_live() || state_ != State::kSending || piece.empty() || method() == "HEAD") return;
  progress();
  const std::size_t bytes = piece.remaining();
  if (!parser_.is_http_1_0()) {
    std::array<char, 24> size;
    const int n = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes);
    output().append(std::string_view(size.data(), static_cast<std::size_t>(n)));
  }
  if (bytes <= kCopiedBody) {
    append_copied(std::move(piece), &output());
  } else {
    output().append(std::move(piece));
  }
  if (!parser_.is_http_1_0()) output().append("\r\n");
  need_flush();
}

void Http1Connection::end() {
  if (!is_live() || state_ != State::kSending) return;
  if (!parser_.is_http_1_0() && method() != "HEAD") output().append("0\r\n\r\n");
  after_answer();
  answered();
}

void Http1Connection::answered() {
  progress();
  state.reset();
  state_ = State::kReading;
  parser_.reset();
  // Inside read_requests() the next request is read anyway.
  if (!in_request_ && (!pending_.empty() || input_ended())) read_on();
}

bool Http1Connection::is_last() const {
  const std::size_t ahead = in_request_ ? ahead_ : pending_.size() - pending_used_;
  return set()->is_draining() && state_ != State::kReading && ahead == 0;
}

bool Http1Connection::keeps_open() const { return parser_.head_done() && !ending_ && parser_.keep_alive(); }

void Http1Connection::write_head(int status, std::string_view content_type, std::string_view length_field) {
  const bool known = parser_.head_done();  // not for what is no HTTP
  if (is_last()) ending_ = true;
  std::string head;
  head.reserve(256 + headers_.size());
  head += known && parser_.is_http_1_0() ? "HTTP/1.0 " : "HTTP/1.1 ";
  head += std::to_string(status);
  head += ' ';
  head += reason_phrase(status);
  head += "\r\nContent-Type: ";
  head += content_type;
  head += length_field;
  head += "\r\nDate: ";
  head += date_now();
  head += headers_;
  headers_.clear();
  if (!keeps_open()) {
    head += "\r\nConnection: close";
  } else if (parser_.is_http_1_0()) {
    head += "\r\nConnection: keep-alive";
  }
  head += "\r\n\r\n";
  output().append(head);
}

void Http1Connection::write_answer(int status, std::string_view content_type, Payload body) {
  write_head(status, content_type, "\r\nContent-Length: " + std::to_string(body.size()));
  if (!parser_.head_done() || method() != "HEAD") {
    if (body.size() <= kCopiedBody) {
      append_copied(std::move(body), &output());
    } else {
      output().append(std::move(body));
    }
  }
  after_answer();
}

void Http1Connection::after_answer() {
  if (keeps_open()) {
    need_flush();
  } else {
    ending_ = true;
    close_after_output();
  }
}

// ---- the end

void Http1Connection::hold() {
  if (held_++ == 0) self_ = shared_from_this();
}

void Http1Connection::let_go() {
  if (--held_ > 0) return;
  if (closed()) state.reset();
  const std::shared_ptr<Connection> last = std::move(self_);  // may be the end of this object
}

void Http1Connection::on_input_end() {
  if (state_ == State::kReading) on_input({});
}

// "100 Continue" may come before any answer (RFC 9110, section 15.2), and clients that do not wait for it pass over it.
void Http1Connection::probe() {
  if (state_ != State::kAnswering || parser_.is_http_1_0() || !output().empty()) return;
  output().append("HTTP/1.1 100 Continue\r\n\r\n");
  need_flush();
}

void Http1Connection::on_flush() {
  if (output().empty()) {
    forget_answers();
    if (state_ == State::kSending && is_live()) route_.handler->on_drained(*this);
  }
  if (held_back_) {
    held_back_ = false;
    read_on();
  }
}

bool Http1Connection::has_work() const {
  return state_ != State::kReading || parser_.has_begun() || pending_used_ < pending_.size();
}

void Http1Connection::on_goodbye() {
  const bool has_part = state_ == State::kReading && parser_.has_begun() && !refused_ && http2_ == nullptr;
  if (state_ != State::kAnswering && !has_part) return;
  if (!parser_.head_done()) route_.errors = context_->routes->default_errors();
  Payload body;
  const int status = route_.errors->write(Status::Unavailable("the server is closing this port"), &body);
  ending_ = true;
  headers_.clear();
  add_header("Retry-After", kRetryAfter);
  write_answer(status, route_.errors->content_type(), std::move(body));
}

void Http1Connection::on_closed() {
  forget_answers();
  stop_feeding(Status::Cancelled("the client has ended its connection"));
  if (state_ == State::kReading) return;
  state_ = State::kReading;
  route_.handler->on_cancel(*this, Status::Cancelled("the client has ended its connection"));
  if (held_ == 0) state.reset();
}

}  // namespace servoir::http
