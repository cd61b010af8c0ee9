#include "net/grpc_call.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "net/http2_connection.h"

namespace servoir {
namespace {

// Texts that outlive the call are not copied by nghttp2.
constexpr std::uint8_t kConstant = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;

nghttp2_nv field(std::string_view name, std::string_view value, std::uint8_t flags = kConstant) {
  auto* n = reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data()));
  auto* v = reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data()));
  return {n, v, name.size(), value.size(), flags};
}

// Up to here a call with too large headers is told so; beyond it is reset, before it costs more than a call.
constexpr std::uint32_t kAnsweredHeaderBytes = 4 * Http2Connection::kMaxHeaderBytes;
constexpr std::size_t kKeptBytes = GrpcCall::kCollectBytes;

}  // namespace

void GrpcCall::open(std::int32_t stream) {
  stream_ = stream;
  follower = 0;
  phase_ = Phase::kHeaders;
  outcome_ = Outcome::kNone;
  is_post_ = is_grpc_ = bad_timeout_ = half_closed_ = answering_ = false;
  prefix_have_ = prefix_sent_ = 0;
  header_bytes_ = 0;
  last_progress_ = connection_->thread()->sweeps();
  message_bytes_ = message_left_ = 0;
  method_ = nullptr;
  unknown_path_.clear();
  encoding_.clear();
  deadline_ = Clock::time_point::max();
}

bool GrpcCall::count_header(std::string_view name, std::string_view value) {
  // As HTTP/2 counts a header list: 32 bytes for each field beside its texts.
  header_bytes_ += static_cast<std::uint32_t>(name.size() + value.size() + 32);
  return header_bytes_ <= kAnsweredHeaderBytes;
}

void GrpcCall::on_header(std::string_view name, std::string_view value) {
  if (header_bytes_ > Http2Connection::kMaxHeaderBytes) return;
  switch (name.size()) {
    case 5:
      if (name == ":path") {
        method_ = connection_->context().routes->find(value);
        if (method_ == nullptr) unknown_path_ = value;
      }
      break;
    case 7:
      if (name == ":method") is_post_ = value == "POST";
      break;
    case 12:
      if (name == "content-type") {
        is_grpc_ = is_grpc_content_type(value);
      } else if (name == "grpc-timeout") {
        if (const auto timeout = parse_grpc_timeout(value)) {
          deadline_ = Clock::now() + *timeout;
        } else {
          bad_timeout_ = true;
        }
      }
      break;
    case 13:
      if (name == "grpc-encoding" && value != "identity") encoding_ = value;
      break;
    default:
      break;
  }
}

void GrpcCall::on_headers_end(bool end_of_stream) {
  phase_ = Phase::kPrefix;
  half_closed_ = end_of_stream;
  if (header_bytes_ > Http2Connection::kMaxHeaderBytes) {
    refuse("200", Status::ResourceExhausted("the request's headers are " + std::to_string(header_bytes_) +
                                            " bytes, the limit is " + std::to_string(Http2Connection::kMaxHeaderBytes) +
                                            ": send less metadata"));
  } else if (!is_post_) {
    refuse("405", Status::Internal("a gRPC call has the :method POST"));
  } else if (!is_grpc_) {
    refuse("415", Status::Internal("a gRPC call has the content-type application/grpc"));
  } else if (method_ == nullptr) {
    refuse("200", Status::Unimplemented("there is no method " + unknown_path_ + "; this server has " +
                                        std::string(kPredictPath) + " and " + std::string(kHealthPath)));
  } else if (bad_timeout_) {
    refuse("200", Status::Internal("the header grpc-timeout is not up to 8 digits and one of the units H M S m u n"));
  }
}

void GrpcCall::on_data(std::span<const std::byte> data) {
  last_progress_ = connection_->thread()->sweeps();
  while (!data.empty()) {
    switch (phase_) {
      case Phase::kPrefix: {
        const std::size_t n = std::min<std::size_t>(kGrpcPrefixBytes - prefix_have_, data.size());
        std::memcpy(prefix_ + prefix_have_, data.data(), n);
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
        if (phase_ == Phase::kCollect) {
          collected_.insert(collected_.end(), piece.begin(), piece.end());
          if (message_left_ != 0) break;
          phase_ = Phase::kComplete;
          method_->on_message(*this, collected_);
          collected_.clear();
          if (collected_.capacity() > kKeptBytes) collected_.shrink_to_fit();
        } else {
          const Status status = sink_->feed(piece);
          if (status.ok() && message_left_ != 0) break;
          std::unique_ptr<MessageSink> sink = std::move(sink_);
          if (status.ok()) {
            phase_ = Phase::kComplete;
            sink->finish(*this);
          } else {
            phase_ = Phase::kDiscard;
            sink->fail(*this, status);
          }
          connection_->retire(std::move(sink));
        }
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

std::span<std::byte> GrpcCall::place() const {
  if (phase_ != Phase::kSink) return {};
  const std::span<std::byte> place = sink_->place();
  return place.first(std::min<std::size_t>(place.size(), message_left_));
}

void GrpcCall::begin_message(std::span<const std::byte>& rest) {
  const GrpcPrefix prefix = read_grpc_prefix(std::span<const std::byte, kGrpcPrefixBytes>(prefix_));
  const std::uint64_t limit = connection_->context().max_message_bytes;
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
                                            "): send less in one request, or start the server with a larger "
                                            "max_msg_mb_size"));
    return;
  }
  if (rest.size() >= prefix.bytes && prefix.bytes <= kCollectBytes) {
    const std::span<const std::byte> message = rest.first(prefix.bytes);
    rest = rest.subspan(prefix.bytes);
    phase_ = Phase::kComplete;
    method_->on_message(*this, message);
    return;
  }
  message_bytes_ = message_left_ = prefix.bytes;
  if (message_bytes_ > kCollectBytes) {
    sink_ = method_->open_sink(message_bytes_);
    if (!sink_) {
      refuse("200", Status::ResourceExhausted("received message larger than max (" + std::to_string(prefix.bytes) +
                                              " vs. " + std::to_string(kCollectBytes) + " for this method)"));
      return;
    }
    phase_ = Phase::kSink;
    return;
  }
  phase_ = Phase::kCollect;
  collected_.reserve(message_bytes_);
}

void GrpcCall::on_half_close() {
  half_closed_ = true;
  if (phase_ == Phase::kPrefix || phase_ == Phase::kCollect || phase_ == Phase::kSink) {
    const std::uint64_t have = prefix_have_ < kGrpcPrefixBytes ? 0 : message_bytes_ - message_left_;
    refuse("200", prefix_have_ == 0 ? Status::Internal("the call ended without a message")
                                    : Status::Internal("the call ended inside its message: " + std::to_string(have) +
                                                       " of " + std::to_string(message_bytes_) + " bytes came"));
    return;
  }
  settle();
}

void GrpcCall::submit(std::shared_ptr<Request> request) {
  request_ = std::move(request);
  request_->deadline = deadline_;
  // A plain pointer fits into the function object without an allocation. It stays good: the call outlives the answer.
  request_->answer = [this](std::shared_ptr<Request> answered) {
    connection_->thread()->deliver(this, std::move(answered));
  };
  set_outcome(Outcome::kRequest);
}

void GrpcCall::reply(Payload message) {
  const std::uint64_t limit = connection_->context().max_message_bytes;
  if (message.size() > limit) {
    fail(Status::ResourceExhausted("the reply is larger than max (" + std::to_string(message.size()) + " vs. " +
                                   std::to_string(limit) +
                                   "): ask for less in one request, or start the server with a larger "
                                   "max_msg_mb_size"));
    return;
  }
  answer_ = std::move(message);
  set_outcome(Outcome::kReply);
}

void GrpcCall::fail(const Status& status) {
  status_ = status;
  set_outcome(Outcome::kStatus);
}

void GrpcCall::set_outcome(Outcome outcome) {
  outcome_ = outcome;
  settle();
}

// The message may be read before its stream's end has come; only then is it sure that nothing follows. An error in the
// middle of a message does not wait.
void GrpcCall::settle() {
  if (outcome_ == Outcome::kNone || answering_ || awaiting_answer_ || stream_ == 0) return;
  if (!half_closed_ && phase_ != Phase::kDiscard) return;
  if (outcome_ == Outcome::kRequest) {
    outcome_ = Outcome::kNone;
    awaiting_answer_ = true;
    connection_->answer_awaited();
    connection_->thread()->count_request();
    connection_->thread()->need_pump();
    connection_->context().scheduler->submit(request_);
    return;
  }
  answering_ = true;
  last_progress_ = connection_->thread()->sweeps();
  if (outcome_ == Outcome::kStatus) {
    send_status(status_, "200");
    return;
  }
  write_grpc_prefix(static_cast<std::uint32_t>(answer_.remaining()), std::span<char, kGrpcPrefixBytes>(answer_prefix_));
  static const std::array kHeaders = {field(":status", "200"), field("content-type", "application/grpc")};
  connection_->send_response(this, kHeaders, false);
}

void GrpcCall::refuse(std::string_view http_status, const Status& status) {
  phase_ = Phase::kDiscard;
  outcome_ = Outcome::kNone;
  connection_->retire(std::move(sink_));
  collected_ = {};
  if (answering_ || stream_ == 0) return;
  answering_ = true;
  send_status(status, http_status);
  if (const std::shared_ptr<Request> request = std::move(request_); request && awaiting_answer_) {
    connection_->context().scheduler->cancel(request, status);
  }
}

void GrpcCall::send_status(const Status& status, std::string_view http_status) {
  const std::string code = std::to_string(static_cast<int>(status.code()));
  const std::string text = encode_grpc_message(status.message());
  const std::array headers = {field(":status", http_status, NGHTTP2_NV_FLAG_NO_COPY_NAME),
                              field("content-type", "application/grpc"),
                              field("grpc-status", code, NGHTTP2_NV_FLAG_NO_COPY_NAME),
                              // One of a kind: of no use in the compression's table.
                              field("grpc-message", text, NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX),
                              field("grpc-accept-encoding", "identity")};
  const bool about_encoding = status.code() == Code::kUnimplemented;
  connection_->send_response(this, std::span(headers).first(about_encoding ? 5 : 4), true);
}

void GrpcCall::send_answer(std::size_t bytes, OutputQueue* out) {
  last_progress_ = connection_->thread()->sweeps();
  if (prefix_sent_ < kGrpcPrefixBytes) {
    const std::size_t n = std::min<std::size_t>(kGrpcPrefixBytes - prefix_sent_, bytes);
    out->append(std::string_view(answer_prefix_ + prefix_sent_, n));
    prefix_sent_ = static_cast<std::uint8_t>(prefix_sent_ + n);
    bytes -= n;
  }
  while (bytes > 0) {
    BlockRef share;
    const std::string_view run = answer_.front(bytes, &share);
    bytes -= run.size();
    if (share) {
      out->append(run, std::move(share));
    } else {
      out->append(run);
    }
    answer_.consume(run.size());
  }
}

void GrpcCall::on_answer(std::shared_ptr<Request> request) {
  awaiting_answer_ = false;
  request_.reset();
  if (stream_ != 0 && !answering_) {
    if (request->failure.code() == Code::kDeadlineExceeded) {
      fail(request->failure);
    } else {
      method_->on_answer(*this, *request);
    }
  }
  request.reset();
  connection_->answer_come(this);  // may be the end of this object
}

void GrpcCall::on_stream_close() {
  stream_ = 0;
  connection_->retire(std::move(sink_));
  collected_ = {};
  answer_ = Payload();
  status_ = Status();
  if (const std::shared_ptr<Request> request = std::move(request_); request && awaiting_answer_) {
    connection_->context().scheduler->cancel(request, Status::Cancelled("the client has cancelled the call"));
  }
}

void GrpcCall::on_sweep() {
  const IoThread* thread = connection_->thread();
  if (stream_ == 0 || awaiting_answer_ || thread->sweeps() - last_progress_ < thread->idle_sweeps()) return;
  if (!answering_) {
    refuse("200", Status::Cancelled("no further byte of the request came for too long"));
  } else {
    connection_->reset(this, NGHTTP2_CANCEL);
  }
}

}  // namespace servoir
