// Http2Connection: its streams. What they ask of the session, where they are kept, and how they end.

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <utility>

#include "http/http2_connection.h"

namespace servoir::http {
namespace {

constexpr std::size_t kKeptStreams = 64;
// What the PING says that follows the announcement of the end.
constexpr std::array<std::uint8_t, 8> kDrainPing = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};

}  // namespace

void Http2Connection::resume_body(Stream* stream) {
  if (closed() || !stream->is_open()) return;
  nghttp2_session_resume_data(session_, stream->record_.id);  // fails harmlessly if it was not waiting
  need_flush();
}

void Http2Connection::consume(Stream* stream, std::size_t bytes) {
  if (closed() || !stream->is_open()) return;
  nghttp2_session_consume_stream(session_, stream->record_.id, bytes);
  need_flush();
}

void Http2Connection::reset(Stream* stream, std::uint32_t error) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->record_.id, error);
  need_flush();
}

void Http2Connection::keep_until_read(std::shared_ptr<const void> memory) {
  if (memory && reading_pieces_) kept_.push_back(std::move(memory));
}

void Http2Connection::hold(Stream* stream) {
  ++stream->record_.holds;
  if (holds_++ == 0) self_ = shared_from_this();
}

void Http2Connection::let_go(Stream* stream) {
  if (--stream->record_.holds == 0 && !stream->is_open()) release_stream(stream);
  if (--holds_ == 0) const std::shared_ptr<Connection> last = std::move(self_);  // may be the end of this object
}

bool Http2Connection::has_open_streams() const {
  return std::any_of(streams_.begin(), streams_.end(), [](const auto& stream) { return stream->is_open(); });
}

void Http2Connection::on_input_end() {
  if (!greeted_) {
    abort();
    return;
  }
  const Status why = Status::Cancelled("the client has ended its side of the connection within the call");
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    if (streams_[i]->is_open() && !streams_[i]->record().half_closed) streams_[i]->abort(why);
  }
  asked_ = false;  // it cannot answer
  if (has_open_streams()) probe();
  need_flush();  // which closes the connection once all is answered
}

// The kernel of a client that has gone altogether answers it with a reset.
void Http2Connection::probe() {
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  need_flush();
}

void Http2Connection::on_sweep(std::uint32_t silent) {
  if (greeted_ && !asked_ && !input_ended() && silent >= set()->idle_sweeps() / 2) {
    asked_ = true;
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
    need_flush();
  }
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    if (streams_[i]->is_open()) streams_[i]->on_sweep();
  }
}

bool Http2Connection::has_work() const {
  return has_open_streams() || (session_ != nullptr && !broken_ && nghttp2_session_want_write(session_) != 0);
}

// In two steps (RFC 9113, section 6.8): first the client learns that the connection will end, and once it has, which of
// its streams was the last. What it has sent until then is served. A late client is not sent away, since it would only
// come again.
void Http2Connection::on_drain() {
  if (session_ == nullptr || broken_ || is_late()) return;
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kDrainPing.data());
  need_flush();
}

void Http2Connection::on_pong(const std::uint8_t* said) {
  if (!std::equal(kDrainPing.begin(), kDrainPing.end(), said)) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  need_flush();
}

void Http2Connection::on_goodbye() {
  if (session_ == nullptr || broken_) return;
  const Status why = Status::Unavailable("the server is closing this port");
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    if (streams_[i]->is_open()) streams_[i]->abort(why);
  }
  on_flush();  // nghttp2 sends no answer any more once it is to end the session
  nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR);
}

void Http2Connection::on_closed() {
  const auto self = shared_from_this();
  last_stream_ = last_placed_ = nullptr;
  // Streams stay where they are while the connection is closed (release_stream).
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    if (!streams_[i]->is_open()) continue;
    streams_[i]->record_.id = 0;
    streams_[i]->on_close();
  }
}

Stream* Http2Connection::take_stream() {
  if (!free_streams_.empty()) {
    Stream* stream = free_streams_.back();
    free_streams_.pop_back();
    return stream;
  }
  streams_.push_back(context_->streams->make_stream(this));
  streams_.back()->record_.slot = streams_.size() - 1;
  return streams_.back().get();
}

void Http2Connection::release_stream(Stream* stream) {
  if (closed()) return;
  if (free_streams_.size() < kKeptStreams) {
    free_streams_.push_back(stream);
    return;
  }
  const std::size_t slot = stream->record_.slot;
  std::swap(streams_[slot], streams_.back());
  streams_[slot]->record_.slot = slot;
  streams_.pop_back();
}

}  // namespace servoir::http
