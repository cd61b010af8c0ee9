// Http2Connection: receiving the tensors of large messages where they belong.
//
// How much of the current DATA frame is still to come is known, and where it goes. Which frames come behind it is
// guessed: clients send the DATA of their streams in turn, so what followed a stream's frame the last time will follow
// again, with the same size; the heads of such frames go into slots of their own. When something else comes it is
// found in the same pieces, only not where it belongs; it is then put in a row in the thread's buffer and read from
// there. So a wrong guess costs a copy, and nothing else depends on guesses.

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "net/http2_connection.h"

namespace servoir {
namespace {

constexpr std::size_t kLeastPlaced = 16384;  // it is not worth it for less
constexpr std::size_t kMostPlaced = 1U << 20U;
constexpr std::size_t kLeastGuessedFrame = 4096;
constexpr std::size_t kFrameHead = 9;

// What a piece of the input is thought to be.
struct Guess {
  std::array<std::byte, kFrameHead> head;  // where a frame's head is received
  std::int32_t stream = 0;                 // of the frame; 0: not guessed
};
// [number of the piece], between place_input() and on_pieces().
thread_local std::array<Guess, Connection::kInputPieces> guesses;

}  // namespace

std::span<std::byte> Http2Connection::place_of(std::int32_t stream) const {
  const auto* call = static_cast<const GrpcCall*>(nghttp2_session_get_stream_user_data(session_, stream));
  return call == nullptr ? std::span<std::byte>() : call->place();
}

std::size_t Http2Connection::place_input(std::span<iovec> pieces) {
  if (!in_data_ || last_call_ == nullptr || last_call_->stream() != data_stream_) {
    return Connection::place_input(pieces);
  }
  const std::span<std::byte> place = last_call_->place();
  if (place.size() < kLeastPlaced) return Connection::place_input(pieces);

  // Of the streams in this input: what of their places is taken.
  struct Taken {
    std::int32_t stream;
    std::span<std::byte> left;
  };
  std::array<Taken, kInputPieces> taken;
  std::size_t streams = 0;
  std::size_t count = 0;
  const std::size_t first = std::min({frame_left_, place.size(), kMostPlaced});
  taken[streams++] = {data_stream_, place.subspan(first)};
  if (first > 0) {
    guesses[count].stream = 0;
    pieces[count++] = {place.data(), first};
  }

  const std::span<std::byte> buffer = thread()->receive_buffer();
  std::size_t guessed = 0;  // bytes in pieces that may have to be put in a row
  const GrpcCall* call = last_call_;
  bool goes_on = first == frame_left_ && frame_bytes_ >= kLeastGuessedFrame;
  while (goes_on && count + 3 <= pieces.size() && call->follower != 0) {
    const std::int32_t stream = call->follower;
    call = static_cast<const GrpcCall*>(nghttp2_session_get_stream_user_data(session_, stream));
    if (call == nullptr) break;
    auto* found =
        std::find_if(taken.data(), taken.data() + streams, [&](const Taken& t) { return t.stream == stream; });
    if (found == taken.data() + streams) taken[streams++] = {stream, call->place()};
    const std::size_t bytes = std::min(frame_bytes_, found->left.size());
    if (bytes == 0 || guessed + kFrameHead + bytes > buffer.size()) break;
    guesses[count].stream = guesses[count + 1].stream = stream;
    pieces[count] = {guesses[count].head.data(), kFrameHead};
    pieces[count + 1] = {found->left.data(), bytes};
    found->left = found->left.subspan(bytes);
    count += 2;
    guessed += kFrameHead + bytes;
    goes_on = bytes == frame_bytes_;
  }
  // What comes behind that: the buffer, leaving room to put what was guessed before it.
  if (guessed < buffer.size() / 2) {
    guesses[count].stream = 0;
    pieces[count++] = {buffer.data() + guessed, buffer.size() - guessed};
  }
  return count;
}

void Http2Connection::on_pieces(std::span<const iovec> pieces) {
  reading_pieces_ = pieces.size() > 1;
  read_pieces(pieces);
  reading_pieces_ = false;
  retired_.clear();
}

void Http2Connection::read_pieces(std::span<const iovec> pieces) {
  const std::span<std::byte> buffer = thread()->receive_buffer();
  const auto in_buffer = [&](const iovec& piece) {
    return piece.iov_base >= buffer.data() && piece.iov_base < buffer.data() + buffer.size();
  };
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i == 0 || in_buffer(pieces[i]) || is_as_guessed(pieces, i)) {
      on_input({static_cast<const std::byte*>(pieces[i].iov_base), pieces[i].iov_len});
      if (closed()) return;
      continue;
    }
    // Reading this piece where it lies could overwrite a later one. Put what is left in a row and read that.
    const std::span<const iovec> rest = pieces.subspan(i);
    std::size_t guessed = 0;
    for (const iovec& piece : rest) guessed += in_buffer(piece) ? 0 : piece.iov_len;
    std::byte* row = in_buffer(rest.back()) ? static_cast<std::byte*>(rest.back().iov_base) - guessed : buffer.data();
    std::size_t filled = 0;
    for (const iovec& piece : rest) {
      if (!in_buffer(piece)) std::memcpy(row + filled, piece.iov_base, piece.iov_len);
      filled += piece.iov_len;
    }
    on_input({row, filled});
    return;
  }
}

// Whether nghttp2 stands where place_input() thought that it would before this piece: at the end of a frame if it is a
// head, else behind the head of a DATA frame of the guessed stream that is not shorter than the piece.
bool Http2Connection::is_as_guessed(std::span<const iovec> pieces, std::size_t i) const {
  if (!in_data_) return false;
  const Guess& guess = guesses[i];
  const bool is_head = pieces[i].iov_base == guess.head.data();
  if (is_head) {
    return frame_left_ == 0 && i + 1 < pieces.size() && place_of(guess.stream).data() == pieces[i + 1].iov_base;
  }
  return data_stream_ == guess.stream && frame_left_ >= pieces[i].iov_len &&
         place_of(guess.stream).data() == pieces[i].iov_base;
}

}  // namespace servoir
