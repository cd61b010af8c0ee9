#include "http/http2_connection.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "base/checked.h"
#include "base/log.h"

namespace servoir::http {
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
// Up to here a request with too large headers is told so; beyond it is reset, before it costs more than a request.
constexpr std::uint32_t kAnsweredHeaderBytes = 4 * kMaxStreamHeaderBytes;

std::string_view view(nghttp2_rcbuf* buffer) {
  const nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

// Fields as nghttp2 takes them.
class Headers {
 public:
  static constexpr std::size_t kMost = 16;
  explicit Headers(std::span<const Field> fields) {
    for (const Field& field : fields.first(std::min(fields.size(), kMost))) {
      auto* name = reinterpret_cast<std::uint8_t*>(const_cast<char*>(field.name.data()));
      auto* value = reinterpret_cast<std::uint8_t*>(const_cast<char*>(field.value.data()));
      unsigned flags = NGHTTP2_NV_FLAG_NONE;
      if (field.is_constant) flags |= NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
      if (field.is_unique) flags |= NGHTTP2_NV_FLAG_NO_INDEX;
      list_[count_++] = {name, value, field.name.size(), field.value.size(), static_cast<std::uint8_t>(flags)};
    }
  }
  [[nodiscard]] std::span<const nghttp2_nv> all() const { return {list_.data(), count_}; }

 private:
  std::array<nghttp2_nv, kMost> list_;
  std::size_t count_ = 0;
};

}  // namespace

struct Http2Connection::Callbacks {
  static Http2Connection* self(void* user) { return static_cast<Http2Connection*>(user); }

  static Stream* stream_of(nghttp2_session* session, std::int32_t id, void* user) {
    Http2Connection* connection = self(user);
    // Frames of one stream mostly come in a row.
    if (connection->last_stream_ == nullptr || connection->last_stream_->record_.id != id) {
      connection->last_stream_ = static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
    }
    return connection->last_stream_;
  }

  static int begin_frame(nghttp2_session* /*session*/, const nghttp2_frame_hd* head, void* user) {
    Http2Connection* connection = self(user);
    const bool plain_data = head->type == NGHTTP2_DATA && (head->flags & NGHTTP2_FLAG_PADDED) == 0;
    if (plain_data && connection->last_placed_ != nullptr) connection->last_placed_->record_.follower = head->stream_id;
    connection->data_stream = plain_data ? head->stream_id : 0;
    connection->frame_bytes = connection->frame_left = head->length;
    connection->in_data = plain_data;
    return 0;
  }

  static int begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    Stream* stream = self(user)->take_stream();
    const std::size_t slot = stream->record_.slot;
    stream->record_ = Stream::Record();
    stream->record_.slot = slot;
    stream->record_.id = frame->hd.stream_id;
    stream->on_open();
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    self(user)->last_stream_ = stream;
    return 0;
  }

  static int header(nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value,
                    std::uint8_t /*flags*/, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Stream* stream = stream_of(session, frame->hd.stream_id, user);
    if (stream == nullptr) return 0;
    const std::string_view key = view(name);
    const std::string_view text = view(value);
    // As HTTP/2 counts a header list: 32 bytes for each field in addition to its texts. A byte of the frame can stand
    // for 4 KB of a header, which nghttp2 checks each time: a stream that goes on with that is reset, and the rest of
    // its headers only passes through the compression's table. Trailers count as well.
    stream->record_.header_bytes += static_cast<std::uint32_t>(key.size() + text.size() + 32);
    if (stream->record_.header_bytes > kAnsweredHeaderBytes) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST && stream->record_.header_bytes <= kMaxStreamHeaderBytes) {
      stream->on_field(key, text);
    }
    return 0;
  }

  static int data_chunk(nghttp2_session* session, std::uint8_t /*flags*/, std::int32_t id, const std::uint8_t* data,
                        std::size_t bytes, void* user) {
    Http2Connection* connection = self(user);
    connection->unconsumed_ += bytes;
    connection->frame_left -= std::min(bytes, connection->frame_left);
    connection->in_data =
        connection->data_stream == id && reinterpret_cast<const std::byte*>(data) + bytes == connection->input_end_;
    Stream* stream = stream_of(session, id, user);
    if (stream == nullptr) return 0;
    const bool taken = stream->on_data({reinterpret_cast<const std::byte*>(data), bytes});
    connection->last_placed_ = taken ? stream : nullptr;
    if (taken) nghttp2_session_consume_stream(session, id, bytes);
    return 0;
  }

  static int frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_SETTINGS && !self(user)->greeted_) {
      self(user)->greeted_ = true;
      self(user)->progress();
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
      self(user)->on_pong(frame->ping.opaque_data);
    }
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Stream* stream = stream_of(session, frame->hd.stream_id, user);
    if (stream == nullptr) return 0;
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (end) stream->record_.half_closed = true;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      const std::uint32_t bytes = stream->record_.header_bytes;
      stream->on_header_end(bytes > kMaxStreamHeaderBytes ? bytes : 0);
    }
    if (end) stream->on_half_close();
    return 0;
  }

  static int stream_close(nghttp2_session* session, std::int32_t id, std::uint32_t /*error*/, void* user) {
    Http2Connection* connection = self(user);
    auto* stream = static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
    if (stream == nullptr) return 0;
    if (connection->last_stream_ == stream) connection->last_stream_ = nullptr;
    if (connection->last_placed_ == stream) connection->last_placed_ = nullptr;
    stream->record_.id = 0;
    ++stream->record_.holds;  // on_close() may let go of it
    stream->on_close();
    if (--stream->record_.holds == 0) connection->release_stream(stream);
    return 0;
  }

  // The answer is complete, but the client may still be sending: it need not go on. (A reset that was submitted earlier
  // would overtake the answer.)
  static int frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    const Stream* stream = stream_of(session, frame->hd.stream_id, user);
    if (stream == nullptr || stream->record_.half_closed) return 0;
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
  }

  static ssize_t read_body(nghttp2_session* session, std::int32_t id, std::uint8_t* /*buffer*/, std::size_t most,
                           std::uint32_t* flags, nghttp2_data_source* source, void* /*user*/) {
    auto* stream = static_cast<Stream*>(source->ptr);
    const std::size_t left = stream->body_left();
    const bool complete = stream->body_is_complete();
    if (left == 0 && !complete) return NGHTTP2_ERR_DEFERRED;
    const std::size_t bytes = std::min(left, most);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (bytes == left && complete) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      std::array<Field, Stream::kMostTrailers> fields;
      const std::size_t count = stream->trailers(fields);
      const Headers trailers({fields.data(), count});
      if (!trailers.all().empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, id, trailers.all().data(), trailers.all().size()) != 0) {
          return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
      }
    }
    return static_cast<ssize_t>(bytes);
  }

  static int send_data(nghttp2_session* /*session*/, nghttp2_frame* /*frame*/, const std::uint8_t* head,
                       std::size_t bytes, nghttp2_data_source* source, void* user) {
    OutputQueue& out = self(user)->output();
    out.append(std::string_view(reinterpret_cast<const char*>(head), 9));
    static_cast<Stream*>(source->ptr)->send_body(bytes, &out);
    return out.size() < kHighWater ? 0 : NGHTTP2_ERR_PAUSE;
  }

  static ssize_t data_frame_bytes(nghttp2_session* /*session*/, std::uint8_t /*type*/, std::int32_t /*stream*/,
                                  std::int32_t connection_window, std::int32_t stream_window,
                                  std::uint32_t remote_max_frame, void* /*user*/) {
    const auto window = static_cast<std::size_t>(std::max(1, std::min(connection_window, stream_window)));
    return static_cast<ssize_t>(std::min({window, static_cast<std::size_t>(remote_max_frame), kMaxSentFrame}));
  }

  static nghttp2_mem memory(SmallBlockPool* pool) {
    nghttp2_mem memory{};
    memory.mem_user_data = pool;
    memory.malloc = [](std::size_t bytes, void* user) { return static_cast<SmallBlockPool*>(user)->take(bytes); };
    memory.free = [](void* block, void* user) { static_cast<SmallBlockPool*>(user)->give(block); };
    memory.calloc = [](std::size_t count, std::size_t bytes, void* user) -> void* {
      std::uint64_t all = 0;
      if (!checked_mul(count, bytes, &all)) return nullptr;
      void* block = static_cast<SmallBlockPool*>(user)->take(all);
      return block == nullptr ? nullptr : std::memset(block, 0, all);
    };
    memory.realloc = [](void* block, std::size_t bytes, void* user) {
      return static_cast<SmallBlockPool*>(user)->resize(block, bytes);
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

Http2Connection::Http2Connection(ConnectionSet* set, WatchedFd socket, std::unique_ptr<ByteStream> bytes,
                                 std::uint32_t listener, std::shared_ptr<const Http2Context> context)
    : Connection(set, std::move(socket), std::move(bytes), listener), context_(std::move(context)) {}

Http2Connection::~Http2Connection() { nghttp2_session_del(session_); }

// With the first bytes, so that a connection that only stands by costs little.
bool Http2Connection::start_session() {
  static const Callbacks::Tables tables;
  nghttp2_mem memory = Callbacks::memory(buffers()->small_blocks());
  if (nghttp2_session_server_new3(&session_, tables.callbacks, this, tables.option, &memory) != 0) return false;
  const std::array<nghttp2_settings_entry, 4> settings = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kStreamWindow)},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrame},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxStreamHeaderBytes},
  }};
  const bool ready = nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) == 0 &&
                     nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) == 0;
  if (set()->is_draining()) on_drain();
  return ready;
}

void Http2Connection::on_input(std::span<const std::byte> bytes) {
  if (session_ == nullptr) {
    expect(Pace::kLeastBytes, set()->head_sweeps());  // until it has shown that it speaks HTTP/2
    if (!start_session()) {
      abort();
      return;
    }
  }
  asked_ = false;
  input_end_ = bytes.data() + bytes.size();
  in_data = false;
  const ssize_t taken =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) {
    const int error = static_cast<int>(taken);
    SERVOIR_DEBUG(std::string("closing an HTTP/2 connection: ") + nghttp2_strerror(error));
    if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
      broken_ = true;
      output().append("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " +
                      std::to_string(context_->wrong_protocol.size()) + "\r\n\r\n");
      output().append(context_->wrong_protocol);
      close_after_output();
    } else {
      abort();
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
    close_after_output();
  }
}

std::size_t Http2Connection::next_destinations(std::span<iovec> places) {
  if (in_data && last_stream_ != nullptr && last_stream_->record_.id == data_stream &&
      last_stream_->next_destination().size() >= Http2Placing::kLeastPlaced) {
    if (placing_ == nullptr) placing_ = std::make_unique<Http2Placing>();
    if (const std::size_t count = placing_->plan(*this, places, buffers()->receive_buffer()); count > 0) return count;
  }
  return Connection::next_destinations(places);
}

void Http2Connection::on_received(std::span<const iovec> pieces) {
  if (pieces.size() == 1) {
    on_input({static_cast<const std::byte*>(pieces[0].iov_base), pieces[0].iov_len});
    return;
  }
  reading_pieces_ = true;
  placing_->read(*this, pieces, buffers()->receive_buffer(), [this](std::span<const std::byte> bytes) {
    on_input(bytes);
    return !closed();
  });
  reading_pieces_ = false;
  kept_.clear();
}

Http2Input::Target Http2Connection::target_of(std::int32_t stream) const {
  const auto* found = static_cast<const Stream*>(nghttp2_session_get_stream_user_data(session_, stream));
  return found == nullptr ? Target() : Target{found->next_destination(), found->record_.follower};
}

void Http2Connection::on_flush() {
  if (session_ == nullptr || broken_) return;
  while (output().size() < kHighWater) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t count = nghttp2_session_mem_send(session_, &bytes);
    if (count < 0) {
      SERVOIR_DEBUG(std::string("closing an HTTP/2 connection: ") + nghttp2_strerror(static_cast<int>(count)));
      abort();
      return;
    }
    if (count == 0) break;
    output().append(std::string_view(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(count)));
  }
  const bool wants_more = input_ended() ? has_open_streams() : nghttp2_session_want_read(session_) != 0;
  if (!wants_more && nghttp2_session_want_write(session_) == 0) close_after_output();
}

void Http2Connection::respond(Stream* stream, std::span<const Field> fields, bool end) {
  nghttp2_data_provider body{};
  body.source.ptr = stream;
  body.read_callback = Callbacks::read_body;
  const Headers headers(fields);
  const int error = nghttp2_submit_response(session_, stream->record_.id, headers.all().data(), headers.all().size(),
                                            end ? nullptr : &body);
  if (error != 0) {
    SERVOIR_DEBUG(std::string("cannot answer a request: ") + nghttp2_strerror(error));
    reset(stream, NGHTTP2_INTERNAL_ERROR);
  }
  need_flush();
}

}  // namespace servoir::http
