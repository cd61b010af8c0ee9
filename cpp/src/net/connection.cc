#include "net/connection.h"

#include <array>
#include <string>

#include "base/log.h"

namespace servoir {
namespace {

constexpr int kReadsInOneGo = 4;  // then the other connections have their turn
constexpr std::size_t kPieces = 256;
constexpr std::uint32_t kLingerSweeps = 2;

}  // namespace

Connection::Connection(IoThread* thread, UniqueFd socket, std::unique_ptr<ByteStream> stream, std::uint32_t listener)
    : thread_(thread),
      watch_(thread, std::move(socket)),
      stream_(std::move(stream)),
      listener_(listener),
      output_(thread->chunks()) {}

Connection::~Connection() = default;

void Connection::start() {
  last_taken_ = thread_->sweeps();
  progress();
  thread_->enlist(shared_from_this());
  reading_ = true;
  watch_.wait_readable(shared_from_this());
}

void Connection::close() {
  if (closed_) return;
  const auto self = shared_from_this();
  closed_ = true;
  on_closed();
  output_.clear();
  watch_.close();
  thread_->dismiss(this);
}

void Connection::shut_down() {
  if (closed_) return;
  const auto self = shared_from_this();
  on_shutdown();
  flush();
  if (!closed_ && !shut_) stream_->end_output();
  close();
}

void Connection::finish() {
  finishing_ = true;
  need_flush();
}

void Connection::need_flush() {
  if (flush_scheduled_ || closed_) return;
  flush_scheduled_ = true;
  thread_->need_flush(shared_from_this());
}

void Connection::on_readable() {
  reading_ = false;
  if (closed_) return;
  if (writing_needs_input_) {
    writing_needs_input_ = writing_ = false;
    need_flush();
  }
  if (!reading_needs_output_) read_input();
}

void Connection::read_input() {
  std::array<iovec, kInputPieces> pieces;
  for (int i = 0; i < kReadsInOneGo; ++i) {
    std::size_t count = finishing_ ? Connection::place_input(pieces) : place_input(pieces);
    const IoResult result = stream_->read({pieces.data(), count});
    if (result.state == IoResult::State::kWouldBlock) {
      if (result.other_way) {
        reading_needs_output_ = true;
        if (!writing_) watch_.wait_writable(shared_from_this());
        return;
      }
      break;
    }
    if (result.state == IoResult::State::kEnd) {
      if (shut_) {
        close();
      } else {
        on_input_end();
      }
      return;
    }
    if (result.state == IoResult::State::kFailed) {
      close();
      return;
    }
    bool filled = true;
    std::size_t left = result.bytes;
    for (std::size_t k = 0; k < count; ++k) {
      if (left < pieces[k].iov_len) {
        filled = false;
        pieces[k].iov_len = left;
        count = left > 0 ? k + 1 : k;
      }
      left -= pieces[k].iov_len;
    }
    if (!finishing_) {
      progress();
      on_pieces({pieces.data(), count});
      if (closed_) return;
    }
    if (!filled && stream_->short_read_is_last()) break;
    if (!finishing_ && !wants_input()) break;
  }
  update_reading();
}

std::size_t Connection::place_input(std::span<iovec> pieces) {
  const std::span<std::byte> buffer = thread_->receive_buffer();
  pieces[0] = {buffer.data(), buffer.size()};
  return 1;
}

void Connection::on_pieces(std::span<const iovec> pieces) {
  for (const iovec& piece : pieces) {
    on_input({static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
    if (closed_ || finishing_) return;
  }
}

void Connection::update_reading() {
  if (closed_ || reading_) return;
  // While the peer does not take what it has asked for, it may not ask for more.
  const bool wanted =
      shut_ || writing_needs_input_ || (!finishing_ && wants_input() && (!writing_ || output_.size() < kHighWater / 2));
  if (!wanted || reading_needs_output_) return;
  reading_ = true;
  if (stream_->has_input()) {
    thread_->post([self = shared_from_this()] { self->on_readable(); });
  } else {
    watch_.wait_readable(shared_from_this());
  }
}

void Connection::on_writable() {
  writing_ = false;
  if (closed_) return;
  if (reading_needs_output_) {
    reading_needs_output_ = false;
    read_input();
    if (closed_) return;
  }
  flush();
}

void Connection::flush() {
  flush_scheduled_ = false;
  if (closed_ || shut_) return;
  std::array<iovec, kPieces> pieces;
  while (!writing_) {
    if (output_.size() < kHighWater) on_flush();
    if (closed_ || output_.empty()) break;
    const std::size_t count = output_.gather(pieces.data(), pieces.size());
    const IoResult result = stream_->write({pieces.data(), count});
    if (result.state == IoResult::State::kWouldBlock) {
      writing_ = true;
      writing_needs_input_ = result.other_way;
      if (!result.other_way && !reading_needs_output_) watch_.wait_writable(shared_from_this());
    } else if (result.state != IoResult::State::kOk) {
      close();
      return;
    } else {
      last_taken_ = thread_->sweeps();
      output_.consume(result.bytes);
    }
  }
  if (closed_) return;
  if (finishing_ && output_.empty()) {
    // The peer may still be sending. Closing now would make the kernel answer that with a reset, which can overtake
    // what was just sent; so what comes is thrown away until the peer ends too, or some time has passed.
    shut_ = true;
    progress();
    stream_->end_output();
  }
  update_reading();
}

void Connection::sweep() {
  if (closed_) return;
  const std::uint32_t idle = thread_->sweeps() - last_progress_;
  if (shut_) {
    if (idle >= kLingerSweeps) close();
    return;
  }
  if (output_.empty()) last_taken_ = thread_->sweeps();
  const bool deaf = thread_->sweeps() - last_taken_ >= thread_->idle_sweeps();
  if (deaf || (idle >= thread_->idle_sweeps() && is_waiting_for_peer())) {
    SERVOIR_DEBUG(std::string("closing a connection: the client has ") +
                  (deaf ? "not read its answers" : "sent nothing") + " for too long");
    close();
    return;
  }
  on_sweep();
}

}  // namespace servoir
