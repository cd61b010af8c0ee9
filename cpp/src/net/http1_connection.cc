#include "net/http1_connection.h"

#include <array>
#include <string_view>
#include <utility>

#include "protocol/rest.h"

namespace servoir {
namespace {

constexpr std::size_t kCopiedBody = 8192;

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return status < 500 ? "Client Error" : "Server Error";
  }
}

// RFC 9110's form of the time, made once a second.
std::string_view date() {
  struct Cached {
    std::time_t second = -1;
    std::array<char, 40> text{};
    std::size_t length = 0;
  };
  static thread_local Cached cached;
  const std::time_t now = std::time(nullptr);
  if (now != cached.second) {
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm t{};
    ::gmtime_r(&now, &t);
    cached.second = now;
    const int n =
        std::snprintf(cached.text.data(), cached.text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[t.tm_wday],
                      t.tm_mday, kMonths[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    cached.length = n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  return {cached.text.data(), cached.length};
}

}  // namespace

Http1Connection::Http1Connection(IoThread* thread, UniqueFd socket, std::unique_ptr<ByteStream> stream,
                                 std::uint32_t listener, std::shared_ptr<const RestContext> context)
    : Connection(thread, std::move(socket), std::move(stream), listener),
      context_(std::move(context)),
      parser_(context_->max_body_bytes, kJsonPadding, context_->budget),
      answers_(context_->budget) {}

void Http1Connection::on_input(std::span<const std::byte> bytes) {
  if (pending_.empty()) {
    const std::size_t used = read_requests(bytes);
    pending_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(used), bytes.end());
    return;
  }
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  const std::size_t used = read_requests(pending_);
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(used));
}

std::size_t Http1Connection::read_requests(std::span<const std::byte> bytes) {
  std::size_t all_used = 0;
  while (!busy_ && !ending_ && !closed()) {
    // A client that sends requests ahead and reads no answers may not make us keep them all.
    if (output().size() >= kHighWater) {
      held_back_ = true;
      return all_used;
    }
    std::size_t used = 0;
    const Http1Parser::Step step = parser_.read(bytes.subspan(all_used), &used);
    all_used += used;
    if (step == Http1Parser::Step::kMore) {
      if (parser_.has_begun() && parser_.head_done()) check_body();
      return all_used;
    }
    if (step == Http1Parser::Step::kFailed) {
      ending_ = true;
      if (!answered_) refuse(parser_.failure_status(), parser_.failure());
      finish();
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

void Http1Connection::on_too_large() {
  refuse(413, Status::InvalidArgument("the request's body is larger than the limit of " +
                                      std::to_string(context_->max_body_bytes) +
                                      " bytes: send less in one request, or start the server with a larger "
                                      "max_msg_mb_size"));
}

void Http1Connection::on_over_budget() {
  refuse(503, Status::Unavailable("the bodies and answers of other REST requests take all the memory that there is for "
                                  "them at the moment; try again later, or send less in one request"));
}

void Http1Connection::check_body() {
  if (answered_) return;
  if (parser_.is_too_large()) {
    on_too_large();
  } else if (parser_.is_over_budget()) {
    on_over_budget();
  }
}

void Http1Connection::on_head() {
  if (parser_.method() != "POST") {
    refuse(405, Status::InvalidArgument("the method is " + std::string(parser_.method()) +
                                        ", but only POST is served: POST /model/NAME[/version/VERSION]:METHOD"));
  } else if (parser_.is_too_large()) {
    on_too_large();
  } else if (parser_.expects_continue() && !parser_.is_http_1_0()) {
    output().append("HTTP/1.1 100 Continue\r\n\r\n");
    need_flush();
  }
}

void Http1Connection::on_request() {
  check_body();
  if (answered_) {
    answered_ = false;
    parser_.reset();
    return;
  }
  thread()->count_request();
  Result<std::shared_ptr<Request>> request =
      read_rest_request(parser_.target(), parser_.body(), context_->scheduler, context_->slabs);
  if (!request.ok()) {
    Payload body;
    const int status = write_rest_failure(request.status(), &body);
    respond(status, std::move(body));
    parser_.reset();
    return;
  }
  parser_.release_body();
  request_ = std::move(request).value();
  request_->answer = [this](std::shared_ptr<Request> answered) { thread()->deliver(this, std::move(answered)); };
  busy_ = true;
  self_ = shared_from_this();
  thread()->need_pump();
  context_->scheduler->submit(request_);
}

void Http1Connection::on_answer(std::shared_ptr<Request> request) {
  const std::shared_ptr<Connection> self = std::move(self_);
  busy_ = false;
  request_.reset();
  if (closed()) return;
  Payload body;
  int status = write_rest_reply(*request, &body);
  request.reset();
  if (!answers_.add(body.size())) {
    const std::string bytes = std::to_string(body.size());
    body = Payload();
    status = write_rest_failure(Status::Unavailable("the answer of " + bytes +
                                                    " bytes finds no memory: other REST clients have not read theirs; "
                                                    "try again later, or ask for less in one request"),
                                &body);
  }
  progress();
  respond(status, std::move(body));
  parser_.reset();
  if (pending_.empty()) return;
  read_on();  // not at once: this may run inside read_requests, which goes on by itself
}

void Http1Connection::read_on() {
  thread()->post([self = std::static_pointer_cast<Http1Connection>(shared_from_this())] {
    if (!self->closed() && !self->busy_) self->on_input({});
    self->need_flush();  // input may be wanted again
  });
}

void Http1Connection::refuse(int status, const Status& why) {
  Payload body;
  (void)write_rest_failure(why, &body);
  // A client that waits for "100 Continue" may or may not send its body now; nobody can tell what comes next.
  if (parser_.head_done() && parser_.expects_continue()) ending_ = true;
  if (parser_.head_done()) parser_.discard_body();
  respond(status, std::move(body));
  answered_ = true;
}

void Http1Connection::respond(int status, Payload body) {
  const bool known = parser_.head_done();  // not for what is no HTTP
  const bool keep = known && !ending_ && parser_.keep_alive();
  std::string head;
  head.reserve(256);
  head += known && parser_.is_http_1_0() ? "HTTP/1.0 " : "HTTP/1.1 ";
  head += std::to_string(status);
  head += ' ';
  head += reason(status);
  head += "\r\nContent-Type: application/json\r\nContent-Length: ";
  head += std::to_string(body.size());
  head += "\r\nDate: ";
  head += date();
  if (status == 405) head += "\r\nAllow: POST";
  if (!keep) {
    head += "\r\nConnection: close";
  } else if (parser_.is_http_1_0()) {
    head += "\r\nConnection: keep-alive";
  }
  head += "\r\n\r\n";
  output().append(head);
  if (!known || parser_.method() != "HEAD") {
    if (body.size() <= kCopiedBody) {
      while (!body.empty()) {
        const std::string_view run = body.front(body.remaining(), nullptr);
        output().append(run);
        body.consume(run.size());
      }
    } else {
      output().append(std::move(body));
    }
  }
  if (keep) {
    need_flush();
  } else {
    ending_ = true;
    finish();
  }
}

void Http1Connection::on_input_end() {
  if (busy_) {
    close();  // nobody waits for the answer
  } else {
    finish();  // what was answered is still sent
  }
}

void Http1Connection::on_flush() {
  if (output().empty()) answers_.clear();
  if (held_back_) {
    held_back_ = false;
    read_on();
  }
}

void Http1Connection::on_shutdown() {
  if (!busy_) return;
  Payload body;
  const int status = write_rest_failure(Status::Unavailable("the server is closing this port"), &body);
  ending_ = true;
  respond(status, std::move(body));
}

void Http1Connection::on_closed() {
  answers_.clear();
  if (const std::shared_ptr<Request> request = std::move(request_); request) {
    context_->scheduler->cancel(request, Status::Cancelled("the client has ended its connection"));
  }
}

}  // namespace servoir
