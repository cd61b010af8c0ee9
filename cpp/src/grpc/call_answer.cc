// Call: the answer's side. Messages, trailers, and how both are given to HTTP/2.

#include <algorithm>
#include <array>
#include <utility>

#include "grpc/call.h"

namespace servoir::grpc {
namespace {

using http::Field;

constexpr Field constant(std::string_view name, std::string_view value) { return {name, value, true, false}; }

}  // namespace

void Call::send(Payload message) {
  if (!is_live()) return;
  const std::uint64_t limit = context_->max_message_bytes;
  if (message.size() > limit) {
    finish(Status::ResourceExhausted(
        "the reply is larger than max (" + std::to_string(message.size()) + " vs. " + std::to_string(limit) +
        "): ask for less in one request, or start the server with a larger " + context_->limit_name));
    return;
  }
  const bool is_first = body_left_ == 0;
  body_left_ += kGrpcPrefixBytes + message.remaining();
  if (is_first) expect_reader();
  messages_.push_back(std::move(message));
  if (!is_unary()) settle();
}

void Call::finish(const Status& status) {
  if (!is_live()) return;
  finished_ = true;
  status_ = status;
  if (body_left_ == 0) expect_reader();
  settle();
}

void Call::reply(Payload message) {
  send(std::move(message));
  finish(Status::Ok());
}

// Gives to HTTP/2 what there is of the answer.
void Call::settle() {
  if (!is_open()) return;
  if (is_unary() && !half_closed_ && phase_ != Phase::kDiscard) return;
  if (header_sent_) {
    host_->resume_body(this);
  } else if (finished_ && messages_.empty()) {
    send_status_alone("200");
  } else {
    send_header();
  }
}

void Call::send_header() {
  header_sent_ = true;
  expect_reader();
  static constexpr std::array kHeader = {constant(":status", "200"), constant("content-type", "application/grpc")};
  if (answer_header_.empty()) {
    host_->respond(this, kHeader, false);
  } else {
    host_->respond(this, with_own(kHeader), false);
  }
}

std::vector<Field> Call::with_own(std::span<const Field> fields) const {
  std::vector<Field> all(fields.begin(), fields.end());
  for (const auto& [name, value] : answer_header_) all.push_back({name, value, false, true});
  return all;
}

void Call::send_status_alone(std::string_view http_status) {
  header_sent_ = true;
  std::array<Field, 2 + kMostTrailers> fields = {Field{":status", http_status},
                                                 constant("content-type", "application/grpc")};
  const std::size_t count = 2 + trailers(std::span(fields).subspan(2));
  host_->respond(this, with_own(std::span(fields).first(count)), true);
}

std::size_t Call::trailers(std::span<Field> fields) {
  if (status_.ok()) {
    fields[0] = constant("grpc-status", "0");
    return 1;
  }
  status_code_ = std::to_string(static_cast<int>(status_.code()));
  status_text_ = encode_grpc_message(status_.message());
  fields[0] = {"grpc-status", status_code_};
  fields[1] = {"grpc-message", status_text_, false, true};
  if (status_.code() != Code::kUnimplemented) return 2;
  fields[2] = constant("grpc-accept-encoding", "identity");
  return 3;
}

void Call::send_body(std::size_t bytes, OutputQueue* out) {
  body_left_ -= bytes;
  output_pace_.count(bytes, sweeps());
  if (body_left_ == 0) expect_reader();
  while (bytes > 0) {
    Payload& message = messages_[first_message_];
    if (prefix_sent_ < kGrpcPrefixBytes) {
      if (prefix_sent_ == 0) write_grpc_prefix(static_cast<std::uint32_t>(message.remaining()), answer_prefix_);
      const std::size_t n = std::min<std::size_t>(kGrpcPrefixBytes - prefix_sent_, bytes);
      out->append(std::string_view(answer_prefix_.data() + prefix_sent_, n));
      prefix_sent_ = static_cast<std::uint8_t>(prefix_sent_ + n);
      bytes -= n;
    }
    while (bytes > 0 && !message.empty()) {
      BlockRef share;
      const std::string_view run = message.front(bytes, &share);
      bytes -= run.size();
      if (share) {
        out->append(run, std::move(share));
      } else {
        out->append(run);
      }
      message.consume(run.size());
    }
    if (prefix_sent_ == kGrpcPrefixBytes && message.empty()) {
      message = Payload();
      prefix_sent_ = 0;
      ++first_message_;
    }
  }
  if (first_message_ == messages_.size()) {
    messages_.clear();
    first_message_ = 0;
    // Not at once: nghttp2 is in the middle of a frame.
    if (!is_unary() && is_live()) {
      hold();
      loop()->post([this] {
        if (is_live() && body_left_ == 0) handler_->on_drained(*this);
        let_go();
      });
    }
  }
}

}  // namespace servoir::grpc
