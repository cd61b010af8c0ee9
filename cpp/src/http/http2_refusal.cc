#include "http/http2_refusal.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace servoir::http {
namespace {

constexpr std::string_view kFirstLine = "PRI * HTTP/2.0\r\n";
constexpr std::string_view kWhy =
    "this port speaks REST over HTTP/1.1, and the client speaks HTTP/2: use HTTP/1.1 here (curl without "
    "--http2-prior-knowledge); gRPC has a port of its own, that of start_grpc_server";
constexpr std::uint32_t kMostRequests = 16;  // at a time

nghttp2_nv field(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));  // nghttp2 only reads it
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct Http2Refusal::Callbacks {
  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t /*flags*/,
                       void* self) {
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    Request& request = static_cast<Http2Refusal*>(self)->requests_[frame->hd.stream_id];
    if (key == "content-type" && text.starts_with("application/grpc")) request.is_grpc = true;
    return 0;
  }

  static int on_frame(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* self) {
    // Many clients take an answer that comes within their body for an error of the connection. That of gRPC may never
    // come to an end, and its clients take the answer at any time.
    auto& refusal = *static_cast<Http2Refusal*>(self);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    const auto request = refusal.requests_.find(frame->hd.stream_id);
    if (request == refusal.requests_.end() || request->second.answered) return 0;
    const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (!ended && !request->second.is_grpc) return 0;
    request->second.answered = true;
    refusal.answer(frame->hd.stream_id);
    return 0;
  }

  static int on_stream_close(nghttp2_session* /*session*/, std::int32_t stream, std::uint32_t /*error*/, void* self) {
    static_cast<Http2Refusal*>(self)->requests_.erase(stream);
    return 0;
  }

  static ssize_t read_body(nghttp2_session* /*session*/, std::int32_t stream, std::uint8_t* out, std::size_t room,
                           std::uint32_t* flags, nghttp2_data_source* /*source*/, void* self) {
    auto& refusal = *static_cast<Http2Refusal*>(self);
    Request& request = refusal.requests_[stream];
    const std::string_view left = std::string_view(refusal.body_).substr(request.sent);
    const std::size_t bytes = std::min(room, left.size());
    std::memcpy(out, left.data(), bytes);
    request.sent += bytes;
    if (bytes == left.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(bytes);
  }
};

bool Http2Refusal::is_for(std::span<const std::byte> bytes) {
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()).starts_with(kFirstLine);
}

Http2Refusal::Http2Refusal(const ErrorWriter& errors) : content_type_(errors.content_type()) {
  Payload body;
  (void)errors.write(Status::Unimplemented(std::string(kWhy)), &body);
  body_ = body.front(body.size(), nullptr);
  nghttp2_session_callbacks* callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) return;
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::on_stream_close);
  if (nghttp2_session_server_new(&session_, callbacks, this) == 0) {
    const nghttp2_settings_entry most{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMostRequests};
    (void)nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &most, 1);  // without it the default holds
  }
  nghttp2_session_callbacks_del(callbacks);
}

Http2Refusal::~Http2Refusal() { nghttp2_session_del(session_); }

bool Http2Refusal::read(std::span<const std::byte> bytes, OutputQueue* out) {
  if (session_ == nullptr) return false;
  bool is_well =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()) >= 0;
  if (answered_ && !said_goodbye_) {
    said_goodbye_ = true;
    // The requests that have begun are still answered, and what comes after them is not taken.
    const std::int32_t last = nghttp2_session_get_last_proc_stream_id(session_);
    (void)nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0);
  }
  const std::uint8_t* piece = nullptr;
  ssize_t size = 0;
  while ((size = nghttp2_session_mem_send(session_, &piece)) > 0) {
    out->append(std::string_view(reinterpret_cast<const char*>(piece), static_cast<std::size_t>(size)));
  }
  is_well = is_well && size == 0;
  return is_well && (nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0);
}

void Http2Refusal::answer(std::int32_t stream) {
  if (requests_[stream].is_grpc) {
    const std::array<nghttp2_nv, 4> fields = {
        field(":status", "200"),
        field("content-type", "application/grpc"),
        field("grpc-status", "12"),  // UNIMPLEMENTED
        field("grpc-message", kWhy),
    };
    (void)nghttp2_submit_response(session_, stream, fields.data(), fields.size(), nullptr);
  } else {
    const std::array<nghttp2_nv, 2> fields = {field(":status", "505"), field("content-type", content_type_)};
    const nghttp2_data_provider body{{}, Callbacks::read_body};
    (void)nghttp2_submit_response(session_, stream, fields.data(), fields.size(), &body);
  }
  answered_ = true;
}

}  // namespace servoir::http
