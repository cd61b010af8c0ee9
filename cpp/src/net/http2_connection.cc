#include "net/http2_connection.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "base/checked.h"
#include "base/log.h"

namespace servoir {
namespace {

// Bytes of one stream and of the whole connection that may be on the way. They are used up as they come, so this bounds
// nothing here; it has to cover what the client can send until our window update has reached it.
constexpr std::int32_t kStreamWindow = 4 << 20;
constexpr std::int32_t kConnectionWindow = 16 << 20;
constexpr std::uint32_t kMaxFrame = 1U << 20U;
constexpr std::size_t kMaxSentFrame = 65536;
// A client may reset so many streams at once, and so many a second; each costs about as much as a call.
constexpr std::uint64_t kResetBurst = 20000;
constexpr std::uint64_t kResetsPerSecond = 2000;
constexpr std::size_t kKeptCalls = 64;

constexpr std::string_view kWrongProtocol =
    "This port speaks gRPC over HTTP/2 without upgrade; REST has a port of its own.\n";

std::string_view view(nghttp2_rcbuf* buffer) {
  const nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

}  // namespace

struct Http2Connection::Callbacks {
  static Http2Connection* self(void* user) { return static_cast<Http2Connection*>(user); }

  static GrpcCall* call(nghttp2_session* session, std::int32_t stream, void* user) {
    Http2Connection* connection = self(user);
    // Frames of one stream mostly come in a row.
    if (connection->last_call_ == nullptr || connection->last_call_->stream() != stream) {
      connection->last_call_ = static_cast<GrpcCall*>(nghttp2_session_get_stream_user_data(session, stream));
    }
    return connection->last_call_;
  }

  static int begin_frame(nghttp2_session* /*session*/, const nghttp2_frame_hd* head, void* user) {
    Http2Connection* connection = self(user);
    const bool plain_data = head->type == NGHTTP2_DATA && (head->flags & NGHTTP2_FLAG_PADDED) == 0;
    if (plain_data && connection->last_sink_ != nullptr) connection->last_sink_->follower = head->stream_id;
    connection->data_stream_ = plain_data ? head->stream_id : 0;
    connection->frame_bytes_ = connection->frame_left_ = head->length;
    connection->in_data_ = plain_data;
    return 0;
  }

  static int begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    GrpcCall* call = self(user)->take_call();
    call->open(frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    self(user)->last_call_ = call;
    return 0;
  }

  static int header(nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value,
                    std::uint8_t /*flags*/, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    GrpcCall* c = call(session, frame->hd.stream_id, user);
    if (c == nullptr) return 0;
    // A byte of the frame can stand for 4 KB of a header, which nghttp2 checks each time: a stream that goes on with
    // that is reset, and the rest of its headers only passes through the compression's table.
    if (!c->count_header(view(name), view(value))) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) c->on_header(view(name), view(value));
    return 0;
  }

  static int data_chunk(nghttp2_session* session, std::uint8_t /*flags*/, std::int32_t stream, const std::uint8_t* data,
                        std::size_t bytes, void* user) {
    Http2Connection* connection = self(user);
    connection->unconsumed_ += bytes;
    connection->frame_left_ -= std::min(bytes, connection->frame_left_);
    connection->in_data_ = connection->data_stream_ == stream &&
                           reinterpret_cast<const std::byte*>(data) + bytes == connection->input_end_;
    GrpcCall* c = call(session, stream, user);
    if (c == nullptr) return 0;
    c->on_data({reinterpret_cast<const std::byte*>(data), bytes});
    connection->last_sink_ = c->takes_more() ? c : nullptr;
    if (c->takes_more()) nghttp2_session_consume_stream(session, stream, bytes);
    return 0;
  }

  static int frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_SETTINGS) self(user)->greeted_ = true;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    GrpcCall* c = call(session, frame->hd.stream_id, user);
    if (c == nullptr) return 0;
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) c->on_headers_end(end);
    if (end) c->on_half_close();
    return 0;
  }

  static int stream_close(nghttp2_session* session, std::int32_t stream, std::uint32_t /*error*/, void* user) {
    Http2Connection* connection = self(user);
    auto* c = static_cast<GrpcCall*>(nghttp2_session_get_stream_user_data(session, stream));
    if (c == nullptr) return 0;
    if (connection->last_call_ == c) connection->last_call_ = nullptr;
    if (connection->last_sink_ == c) connection->last_sink_ = nullptr;
    const bool awaits_answer = c->awaits_answer();
    c->on_stream_close();
    // One that awaits its answer is released by answer_come(), and that may just have happened: cancelling answers at
    // once.
    if (!awaits_answer) connection->release_call(c);
    return 0;
  }

  // The answer is complete, but the client may still be sending: it need not go on. (A reset that was submitted earlier
  // would overtake the answer.)
  static int frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    const GrpcCall* c = call(session, frame->hd.stream_id, user);
    if (c == nullptr || c->half_closed()) return 0;
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
  }

  static ssize_t read_answer(nghttp2_session* session, std::int32_t stream, std::uint8_t* /*buffer*/, std::size_t most,
                             std::uint32_t* flags, nghttp2_data_source* source, void* /*user*/) {
    auto* c = static_cast<GrpcCall*>(source->ptr);
    const std::size_t left = c->answer_left();
    const std::size_t bytes = std::min(left, most);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (bytes == left) {
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      static constexpr std::string_view kName = "grpc-status";
      static constexpr std::string_view kValue = "0";
      const nghttp2_nv trailer = {reinterpret_cast<std::uint8_t*>(const_cast<char*>(kName.data())),
                                  reinterpret_cast<std::uint8_t*>(const_cast<char*>(kValue.data())), kName.size(),
                                  kValue.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
      if (nghttp2_submit_trailer(session, stream, &trailer, 1) != 0) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return static_cast<ssize_t>(bytes);
  }

  static int send_data(nghttp2_session* /*session*/, nghttp2_frame* /*frame*/, const std::uint8_t* head,
                       std::size_t bytes, nghttp2_data_source* source, void* user) {
    OutputQueue& out = self(user)->output();
    out.append(std::string_view(reinterpret_cast<const char*>(head), 9));
    static_cast<GrpcCall*>(source->ptr)->send_answer(bytes, &out);
    return out.size() < kHighWater ? 0 : NGHTTP2_ERR_PAUSE;
  }

  static ssize_t data_frame_bytes(nghttp2_session* /*session*/, std::uint8_t /*type*/, std::int32_t /*stream*/,
                                  std::int32_t connection_window, std::int32_t stream_window,
                                  std::uint32_t remote_max_frame, void* /*user*/) {
    const auto window = static_cast<std::size_t>(std::max(1, std::min(connection_window, stream_window)));
    return static_cast<ssize_t>(std::min({window, static_cast<std::size_t>(remote_max_frame), kMaxSentFrame}));
  }

  static nghttp2_mem memory(PiecePool* pool) {
    nghttp2_mem memory{};
    memory.mem_user_data = pool;
    memory.malloc = [](std::size_t bytes, void* user) { return static_cast<PiecePool*>(user)->take(bytes); };
    memory.free = [](void* piece, void* user) { static_cast<PiecePool*>(user)->give(piece); };
    memory.calloc = [](std::size_t count, std::size_t bytes, void* user) -> void* {
      std::uint64_t all = 0;
      if (!checked_mul(count, bytes, &all)) return nullptr;
      void* piece = static_cast<PiecePool*>(user)->take(all);
      return piece == nullptr ? nullptr : std::memset(piece, 0, all);
    };
    memory.realloc = [](void* piece, std::size_t bytes, void* user) {
      return static_cast<PiecePool*>(user)->resize(piece, bytes);
    };
    return memory;
  }

  // The tables are alike for all sessions.
  struct Tables {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    Tables() {
      if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) return;
      nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, begin_frame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
      nghttp2_session_callbacks_set_on_header_callback2(callbacks, header);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_chunk);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame);
      nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_sent);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_close);
      nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
      nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, data_frame_bytes);
      nghttp2_option_set_no_auto_window_update(option, 1);
      nghttp2_option_set_max_outbound_ack(option, 1000);
      nghttp2_option_set_stream_reset_rate_limit(option, kResetBurst, kResetsPerSecond);
    }
    Tables(const Tables&) = delete;
    Tables& operator=(const Tables&) = delete;
    ~Tables() {
      nghttp2_option_del(option);
      nghttp2_session_callbacks_del(callbacks);
    }
  };
};

Http2Connection::Http2Connection(IoThread* thread, UniqueFd socket, std::unique_ptr<ByteStream> stream,
                                 std::uint32_t listener, std::shared_ptr<const GrpcContext> context)
    : Connection(thread, std::move(socket), std::move(stream), listener), context_(std::move(context)) {}

Http2Connection::~Http2Connection() { nghttp2_session_del(session_); }

// With the first bytes, so that a connection that only stands by costs little.
bool Http2Connection::start_session() {
  static const Callbacks::Tables tables;
  nghttp2_mem memory = Callbacks::memory(thread()->pieces());
  if (nghttp2_session_server_new3(&session_, tables.callbacks, this, tables.option, &memory) != 0) return false;
  const std::array<nghttp2_settings_entry, 4> settings = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kStreamWindow)},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrame},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeaderBytes},
  }};
  return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) == 0 &&
         nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) == 0;
}

void Http2Connection::on_input(std::span<const std::byte> bytes) {
  if (session_ == nullptr && !start_session()) {
    close();
    return;
  }
  input_end_ = bytes.data() + bytes.size();
  in_data_ = false;
  const ssize_t taken =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) {
    const int error = static_cast<int>(taken);
    SERVOIR_DEBUG(std::string("closing a gRPC connection: ") + nghttp2_strerror(error));
    if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
      broken_ = true;
      output().append("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " +
                      std::to_string(kWrongProtocol.size()) + "\r\n\r\n");
      output().append(kWrongProtocol);
      finish();
    } else {
      close();
    }
    return;
  }
  if (unconsumed_ > 0) {
    nghttp2_session_consume_connection(session_, unconsumed_);
    unconsumed_ = 0;
  }
  if (nghttp2_session_want_write(session_) != 0) {
    need_flush();
  } else if (nghttp2_session_want_read(session_) == 0) {
    finish();
  }
}

void Http2Connection::on_flush() {
  if (session_ == nullptr || broken_) return;
  while (output().size() < kHighWater) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t count = nghttp2_session_mem_send(session_, &bytes);
    if (count < 0) {
      SERVOIR_DEBUG(std::string("closing a gRPC connection: ") + nghttp2_strerror(static_cast<int>(count)));
      close();
      return;
    }
    if (count == 0) break;
    output().append(std::string_view(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count)));
  }
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) finish();
}

void Http2Connection::send_response(GrpcCall* call, std::span<const nghttp2_nv> headers, bool end) {
  nghttp2_data_provider answer{};
  answer.source.ptr = call;
  answer.read_callback = Callbacks::read_answer;
  const int error =
      nghttp2_submit_response(session_, call->stream(), headers.data(), headers.size(), end ? nullptr : &answer);
  if (error != 0) {
    SERVOIR_DEBUG(std::string("cannot answer a call: ") + nghttp2_strerror(error));
    reset(call, NGHTTP2_INTERNAL_ERROR);
  }
  need_flush();
}

void Http2Connection::reset(GrpcCall* call, std::uint32_t http2_error) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, call->stream(), http2_error);
  need_flush();
}

void Http2Connection::answer_awaited() {
  if (awaited_++ == 0) self_ = shared_from_this();
}

void Http2Connection::answer_come(GrpcCall* call) {
  if (call->is_idle()) release_call(call);
  if (--awaited_ == 0) const std::shared_ptr<Connection> last = std::move(self_);
}

void Http2Connection::on_sweep() {
  for (std::size_t i = 0; i < calls_.size(); ++i) calls_[i]->on_sweep();
}

void Http2Connection::on_shutdown() {
  if (session_ == nullptr || broken_) return;
  const Status why = Status::Unavailable("the server is closing this port");
  for (std::size_t i = 0; i < calls_.size(); ++i) calls_[i]->abort(why);
  on_flush();  // nghttp2 sends no answer any more once it is to end the session
  nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR);
}

void Http2Connection::on_closed() {
  const auto self = shared_from_this();
  last_call_ = last_sink_ = nullptr;
  // Calls stay where they are while the connection is closed (release_call).
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    if (calls_[i]->stream() != 0) calls_[i]->on_stream_close();
  }
}

GrpcCall* Http2Connection::take_call() {
  if (!free_calls_.empty()) {
    GrpcCall* call = free_calls_.back();
    free_calls_.pop_back();
    return call;
  }
  calls_.push_back(std::make_unique<GrpcCall>(this));
  calls_.back()->slot = calls_.size() - 1;
  return calls_.back().get();
}

void Http2Connection::release_call(GrpcCall* call) {
  if (closed()) return;
  if (free_calls_.size() < kKeptCalls) {
    free_calls_.push_back(call);
    return;
  }
  const std::size_t slot = call->slot;
  std::swap(calls_[slot], calls_.back());
  calls_[slot]->slot = slot;
  calls_.pop_back();
}

}  // namespace servoir
