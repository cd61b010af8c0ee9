#include "grpc/call.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace servoir::grpc {
namespace {

// What is collected beyond this is given back after each message.
constexpr std::size_t kKeptBytes = Call::kCollectBytes;
// After so many sweeps a slow reader's answer shall not keep a whole batch's memory.
constexpr std::uint32_t kMoveOutSweeps = 2;
constexpr std::uint32_t kHttp2Cancel = 8;  // RFC 9113, section 7

class CallFactory final : public http::StreamFactory {
 public:
  explicit CallFactory(CallContext context) : context_(std::move(context)) {}
  std::unique_ptr<http::Stream> make_stream(http::StreamHost* host) const override {
    return std::make_unique<Call>(host, &context_);
  }

 private:
  const CallContext context_;
};

// Collects a message as it comes, for handlers that want it whole.
class CollectingSink final : public MessageSink {
 public:
  explicit CollectingSink(const Handler* handler) : handler_(handler) {}
  Status feed(std::span<const std::byte> bytes) override {
    message_.insert(message_.end(), bytes.begin(), bytes.end());
    return Status::Ok();
  }
  void finish(Call& call) override { handler_->on_message(call, message_); }
  void fail(Call& call, const Status& why) override { call.finish(why); }

 private:
  const Handler* const handler_;
  std::vector<std::byte> message_;
};

}  // namespace

std::shared_ptr<const http::StreamFactory> make_call_factory(CallContext context) {
  return std::make_shared<CallFactory>(std::move(context));
}

std::unique_ptr<MessageSink> Handler::open_sink(Call& /*call*/, std::uint64_t /*bytes*/) const {
  return std::make_unique<CollectingSink>(this);
}

// ---- the request

void Call::on_open() {
  phase_ = Phase::kHeaders;
  is_post_ = is_grpc_ = bad_timeout_ = half_closed_ = input_paused_ = finished_ = header_sent_ = false;
  paused_bytes_ = 0;
  prefix_have_ = prefix_sent_ = 0;
  input_pace_.restart(sweeps());
  expect_reader();
  message_bytes_ = message_left_ = 0;
  handler_ = nullptr;
  unknown_path_.clear();
  encoding_.clear();
  metadata_.clear();
  answer_header_.clear();
  deadline_ = Clock::time_point::max();
}

void Call::on_field(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 5:
      if (name == ":path") {
        handler_ = context_->routes->find(value);
        if (handler_ == nullptr) unknown_path_ = value;
        return;
      }
      break;
    case 7:
      if (name == ":method") {
        is_post_ = value == "POST";
        return;
      }
      break;
    case 12:
      if (name == "content-type") {
        is_grpc_ = is_grpc_content_type(value);
        return;
      }
      if (name == "grpc-timeout") {
        if (const auto timeout = parse_grpc_timeout(value)) {
          deadline_ = Clock::now() + *timeout;
        } else {
          bad_timeout_ = true;
        }
        return;
      }
      break;
    case 13:
      if (name == "grpc-encoding") {
        if (value != "identity") encoding_ = value;
        return;
      }
      break;
    default:
      break;
  }
  if (name.starts_with(':')) return;
  metadata_.add(name, value);
}

void Call::on_header_end(std::size_t too_large) {
  phase_ = Phase::kPrefix;
  half_closed_ = record().half_closed;
  if (too_large > 0) {
    refuse("200", Status::ResourceExhausted("the request's headers are " + std::to_string(too_large) +
                                            " bytes, the limit is " + std::to_string(http::kMaxStreamHeaderBytes) +
                                            ": send less metadata"));
  } else if (!is_post_) {
    refuse("405", Status::Internal("a gRPC call has the :method POST"));
  } else if (!is_grpc_) {
    refuse("415", Status::Internal("a gRPC call has the content-type application/grpc"));
  } else if (handler_ == nullptr) {
    refuse("200", Status::Unimplemented("there is no method " + unknown_path_ + "; this server has " +
                                        context_->routes->listed()));
  } else if (bad_timeout_) {
    refuse("200", Status::Internal("the header grpc-timeout is not up to 8 digits and one of the units H M S m u n"));
  } else if (!is_unary() && deadline_ != Clock::time_point::max()) {
    start_deadline();
  }
}

void Call::start_deadline() {
  deadline_timer_ = std::make_unique<Timer>(
      loop(), [this] { refuse("200", Status::DeadlineExceeded("the call's deadline passed before it was finished")); });
  deadline_timer_->set(deadline_);
}

bool Call::on_data(std::span<const std::byte> data) {
  input_pace_.count(data.size(), sweeps());
  read(data);
  if (!takes_many()) return phase_ == Phase::kSink;  // a small message is not worth a window update
  if (input_paused_) paused_bytes_ += data.size();
  return !input_paused_;
}

void Call::read(std::span<const std::byte> data) {
  while (!data.empty()) {
    switch (phase_) {
      case Phase::kPrefix: {
        const std::size_t n = std::min<std::size_t>(kGrpcPrefixBytes - prefix_have_, data.size());
        std::memcpy(prefix_.data() + prefix_have_, data.data(), n);
        prefix_have_ = static_cast<std::uint8_t>(prefix_have_ + n);
        data = data.subspan(n);
        if (prefix_have_ == kGrpcPrefixBytes) begin_message(data);
        break;
      }
      case Phase::kCollect:
      case Phase::kSink: {
        const std::span<const std::byte> piece = data.first(std::min<std::size_t>(message_left_, data.size()));
        data = data.subspan(piece.size());
        message_left_ -= static_cast<std::uint32_t>(piece.size());
        if (phase_ == Phase::kSink) {
          feed_sink(piece);
          break;
        }
        collected_.insert(collected_.end(), piece.begin(), piece.end());
        if (message_left_ != 0) break;
        end_message();
        handler_->on_message(*this, collected_);
        collected_.clear();
        if (collected_.capacity() > kKeptBytes) collected_.shrink_to_fit();
        break;
      }
      case Phase::kComplete:
        refuse("200", Status::Internal("a second message came in a call that takes one"));
        return;
      case Phase::kHeaders:
      case Phase::kDiscard:
        return;
    }
  }
}

void Call::feed_sink(std::span<const std::byte> piece) {
  const Status status = sink_->feed(piece);
  if (status.ok() && message_left_ != 0) return;
  const std::shared_ptr<MessageSink> sink = std::move(sink_);
  // Its memory may be where input lies that was not read yet.
  host_->keep_until_read(sink);
  if (status.ok()) {
    end_message();
    sink->finish(*this);
  } else {
    phase_ = Phase::kDiscard;
    sink->fail(*this, status);
  }
}

std::span<std::byte> Call::next_destination() const {
  if (phase_ != Phase::kSink) return {};
  const std::span<std::byte> place = sink_->next_destination();
  return place.first(std::min<std::size_t>(place.size(), message_left_));
}

void Call::begin_message(std::span<const std::byte>& rest) {
  const GrpcPrefix prefix = read_grpc_prefix(prefix_);
  const std::uint64_t limit = context_->max_message_bytes;
  if (prefix.flag != 0) {
    if (prefix.flag == 1 && !encoding_.empty()) {
      refuse("200", Status::Unimplemented("the message is compressed with '" + encoding_ +
                                          "', this server takes messages as they are (identity)"));
    } else {
      refuse("200", Status::Internal("the message's flag is " + std::to_string(prefix.flag) +
                                     " (compressed), but no grpc-encoding was announced"));
    }
    return;
  }
  if (prefix.bytes > limit) {
    refuse("200", Status::ResourceExhausted("received message larger than max (" + std::to_string(prefix.bytes) +
                                            " vs. " + std::to_string(limit) +
                                            "): send less in one request, or start the server with a larger " +
                                            context_->limit_name));
    return;
  }
  if (prefix.bytes > handler_->max_message_bytes()) {
    refuse("200",
           Status::ResourceExhausted("received message larger than max (" + std::to_string(prefix.bytes) + " vs. " +
                                     std::to_string(handler_->max_message_bytes()) + " for this method)"));
    return;
  }
  message_bytes_ = message_left_ = prefix.bytes;
  input_pace_.restart(sweeps(), Pace::least_of(message_bytes_));
  if (rest.size() >= prefix.bytes && prefix.bytes <= kCollectBytes) {
    const std::span<const std::byte> message = rest.first(prefix.bytes);
    rest = rest.subspan(prefix.bytes);
    message_left_ = 0;
    end_message();
    handler_->on_message(*this, message);
    return;
  }
  if (message_bytes_ > kCollectBytes) {
    sink_ = handler_->open_sink(*this, message_bytes_);
    phase_ = Phase::kSink;
    return;
  }
  phase_ = Phase::kCollect;
  collected_.reserve(message_bytes_);
}

void Call::end_message() {
  const bool more = handler_->shape() == CallShape::kBidirectional;
  phase_ = more ? Phase::kPrefix : Phase::kComplete;
  if (!more) return;
  prefix_have_ = 0;
  input_pace_.restart(sweeps());
}

bool Call::is_inside_message() const {
  return phase_ == Phase::kCollect || phase_ == Phase::kSink || (phase_ == Phase::kPrefix && prefix_have_ > 0);
}

void Call::on_half_close() {
  half_closed_ = true;
  if (is_inside_message() || (phase_ == Phase::kPrefix && !takes_many())) {
    const std::uint64_t have = prefix_have_ < kGrpcPrefixBytes ? 0 : message_bytes_ - message_left_;
    const std::uint64_t all = prefix_have_ < kGrpcPrefixBytes ? 0 : message_bytes_;
    refuse("200", prefix_have_ == 0 ? Status::Internal("the call ended without a message")
                                    : Status::Internal("the call ended inside its message: " + std::to_string(have) +
                                                       " of " + std::to_string(all) + " bytes came"));
    return;
  }
  if (finished_) {
    if (!header_sent_) settle();
  } else if (phase_ != Phase::kDiscard) {
    handler_->on_half_close(*this);
  }
}

void Call::resume_input() {
  if (!input_paused_) return;
  input_paused_ = false;
  // What came meanwhile has not opened the client's window.
  host_->consume(this, paused_bytes_);
  paused_bytes_ = 0;
}

// ---- the end

void Call::refuse(std::string_view http_status, const Status& status) {
  phase_ = Phase::kDiscard;
  drop_input();
  const bool was_finished = finished_;
  if (!is_open() || (was_finished && header_sent_)) return;
  finished_ = true;
  status_ = status;
  expect_reader();
  if (header_sent_) {
    host_->resume_body(this);
  } else {
    messages_.clear();
    first_message_ = body_left_ = 0;
    send_status_alone(http_status);
  }
  if (!was_finished && handler_ != nullptr) handler_->on_cancel(*this, status);
}

void Call::drop_input() {
  if (sink_) host_->keep_until_read(std::move(sink_));
  collected_ = {};
}

void Call::on_close() {
  drop_input();
  deadline_timer_.reset();
  messages_.clear();
  first_message_ = body_left_ = 0;
  status_ = Status();
  const bool was_finished = finished_;
  finished_ = true;
  if (!was_finished && handler_ != nullptr) {
    handler_->on_cancel(*this, Status::Cancelled("the client has cancelled the call"));
  }
  if (!is_held()) state.reset();
}

void Call::on_sweep() {
  if (is_held()) return;
  const std::uint32_t patience = host_->connections()->idle_sweeps();
  if (output_pace_.silent(sweeps()) >= kMoveOutSweeps) {
    for (std::size_t i = first_message_; i < messages_.size(); ++i) messages_[i].move_out();
  }
  const bool owes_input = is_inside_message() || (is_unary() && !header_sent_);
  if (header_sent_ && (finished_ || body_left_ > 0) && output_pace_.silent(sweeps()) >= patience) {
    host_->reset(this, kHttp2Cancel);
  } else if (owes_input && input_pace_.silent(sweeps()) >= patience) {
    refuse("200", Status::Cancelled("the request's message does not go on: " + std::to_string(input_pace_.recent()) +
                                    " bytes came within the time-out, expected are " +
                                    std::to_string(input_pace_.least()) + " or all that is left of it"));
  }
}

void Call::hold() {
  ++held_;
  host_->hold(this);
}

void Call::let_go() {
  if (--held_ == 0 && !is_open()) state.reset();
  host_->let_go(this);
}

}  // namespace servoir::grpc
