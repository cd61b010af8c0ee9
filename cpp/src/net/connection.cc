#include "net/connection.h"

#include <array>
#include <bit>
#include <string>

#include "base/log.h"

namespace servoir {
namespace {

// Then the other connections have their turn.
constexpr int kReadsInOneGo = 4;
constexpr std::size_t kWrittenInOneGo = 4U << 20U;
constexpr std::size_t kPieces = 256;
constexpr std::uint32_t kLingerSweeps = 2;

}  // namespace

Connection::Connection(ConnectionSet* set, WatchedFd socket, std::unique_ptr<ByteStream> stream, std::uint32_t listener)
    : set_(set),
      watch_(set->loop(), std::move(socket)),
      stream_(std::move(stream)),
      listener_(listener),
      is_late_(set->is_draining()),
      output_(set->buffers()->chunks()) {}

Connection::~Connection() = default;

void Connection::start() {
  last_taken_ = set_->sweeps();
  progress();
  set_->enlist(shared_from_this());
  reading_ = true;
  watch_.wait_readable(shared_from_this());
}

void Connection::abort() {
  if (closed_) return;
  const auto self = shared_from_this();
  closed_ = true;
  on_closed();
  output_.clear();
  watch_.close();
  set_->dismiss(this);
}

void Connection::goodbye() {
  if (closed_ || closing_) return;
  const auto self = shared_from_this();
  if (!input_ended_ && !reading_needs_output_ && wants_input()) read_input();
  if (closed_ || closing_) return;
  on_goodbye();
  close_after_output();
  flush();
}

void Connection::close_after_output() {
  closing_ = true;
  need_flush();
}

void Connection::need_flush() {
  if (flush_scheduled_ || closed_) return;
  flush_scheduled_ = true;
  set_->need_flush(shared_from_this());
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
  std::array<iovec, kMostDestinations> pieces;
  for (int i = 0; i < kReadsInOneGo; ++i) {
    std::size_t count = closing_ ? Connection::next_destinations(pieces) : next_destinations(pieces);
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
      end_input();
      return;
    }
    if (result.state == IoResult::State::kFailed) {
      abort();
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
    if (!closing_) {
      input_pace_.count(result.bytes, set_->sweeps());
      on_received({pieces.data(), count});
      if (closed_) return;
    }
    if (!filled && stream_->short_read_is_last()) break;
    if (!closing_ && !wants_input()) break;
  }
  update_reading();
}

void Connection::end_input() {
  input_ended_ = true;
  // It cannot come any more.
  if (output_ended_ || writing_needs_input_) {
    abort();
    return;
  }
  if (!closing_) on_input_end();
  if (!closed_) watch_.wait_hangup(shared_from_this());
}

std::size_t Connection::next_destinations(std::span<iovec> places) {
  const std::span<std::byte> buffer = buffers()->receive_buffer();
  places[0] = {buffer.data(), buffer.size()};
  return 1;
}

void Connection::on_received(std::span<const iovec> pieces) {
  for (const iovec& piece : pieces) {
    on_input({static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
    if (closed_ || closing_) return;
  }
}

void Connection::update_reading() {
  if (closed_ || reading_ || input_ended_) return;
  // While the peer does not take what it has asked for, it may not ask for more.
  const bool wanted = output_ended_ || writing_needs_input_ ||
                      (!closing_ && wants_input() && (!writing_ || output_.size() < kHighWater / 2));
  if (!wanted || reading_needs_output_) return;
  reading_ = true;
  if (stream_->has_input()) {
    loop()->post([self = shared_from_this()] { self->on_readable(); });
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
  if (closed_ || output_ended_) return;
  std::array<iovec, kPieces> pieces;
  std::size_t written = 0;
  while (!writing_) {
    if (written >= kWrittenInOneGo) {
      loop()->post([self = shared_from_this()] { self->need_flush(); });
      return;
    }
    if (output_.size() < kHighWater) on_flush();
    if (closed_ || output_.empty()) break;
    const std::size_t count = output_.gather(pieces.data(), pieces.size());
    const IoResult result = stream_->write({pieces.data(), count});
    if (result.state == IoResult::State::kWouldBlock) {
      if (result.other_way && input_ended_) {
        abort();
        return;
      }
      writing_ = true;
      writing_needs_input_ = result.other_way;
      if (!result.other_way && !reading_needs_output_) watch_.wait_writable(shared_from_this());
    } else if (result.state != IoResult::State::kOk) {
      abort();
      return;
    } else {
      last_taken_ = set_->sweeps();
      output_.consume(result.bytes);
      written += result.bytes;
    }
  }
  if (closed_) return;
  if (closing_ && output_.empty()) {
    // The peer may still be sending. Closing now would make the kernel answer that with a reset, which can overtake
    // what was just sent; so what comes is thrown away until the peer ends too, or some time has passed.
    output_ended_ = true;
    progress();
    stream_->end_output();
    if (input_ended_) abort();
  }
  update_reading();
}

void Connection::sweep() {
  if (closed_) return;
  const std::uint32_t idle = input_pace_.silent(set_->sweeps());
  if (output_ended_) {
    if (idle >= kLingerSweeps) abort();
    return;
  }
  if (output_.empty()) last_taken_ = set_->sweeps();
  const bool deaf = set_->sweeps() - last_taken_ >= set_->idle_sweeps();
  if (deaf || (idle >= patience_ && is_waiting_for_peer())) {
    SERVOIR_DEBUG(std::string("closing a connection: the client has ") +
                  (deaf ? "not read its answers" : "sent nothing, or not enough,") + " for too long");
    abort();
    return;
  }
  // What a slow peer leaves here shall not keep a whole batch's memory.
  if (had_output_) output_.move_out();
  had_output_ = !output_.empty();
  on_sweep(idle);
  // More and more seldom: a peer that only waits need not see many of them.
  if (!closed_ && input_ended_ && std::has_single_bit(++ended_sweeps_)) probe();
}

}  // namespace servoir
