#include "http/http2_placing.h"

#include <algorithm>
#include <cstring>

namespace servoir::http {
namespace {

constexpr std::size_t kMostPlaced = 1U << 20U;
constexpr std::size_t kLeastGuessedFrame = 4096;

}  // namespace

std::size_t Http2Placing::plan(const Http2Input& input, std::span<iovec> places, std::span<std::byte> buffer) {
  if (!input.in_data || input.data_stream == 0) return 0;
  Http2Input::Target target = input.target_of(input.data_stream);
  if (target.destination.size() < kLeastPlaced) return 0;
  places = places.first(std::min(places.size(), kMostPlaces));

  // Of the streams in this input: how much of their destinations is taken.
  struct Taken {
    std::int32_t stream;
    std::span<std::byte> left;
  };
  std::array<Taken, kMostPlaces> taken;
  std::size_t streams = 0;
  std::size_t count = 0;
  const std::size_t first = std::min({input.frame_left, target.destination.size(), kMostPlaced});
  taken[streams++] = {input.data_stream, target.destination.subspan(first)};
  if (first > 0) {
    guesses_[count].stream = 0;
    places[count++] = {target.destination.data(), first};
  }

  std::size_t guessed = 0;  // bytes in places that may have to be put in a row
  bool goes_on = first == input.frame_left && input.frame_bytes >= kLeastGuessedFrame;
  while (goes_on && count + 3 <= places.size() && target.follower != 0) {
    const std::int32_t stream = target.follower;
    target = input.target_of(stream);
    auto* found =
        std::find_if(taken.data(), taken.data() + streams, [&](const Taken& t) { return t.stream == stream; });
    if (found == taken.data() + streams) taken[streams++] = {stream, target.destination};
    const std::size_t bytes = std::min(input.frame_bytes, found->left.size());
    if (bytes == 0 || guessed + kFrameHead + bytes > buffer.size()) break;
    guesses_[count].stream = guesses_[count + 1].stream = stream;
    places[count] = {guesses_[count].head.data(), kFrameHead};
    places[count + 1] = {found->left.data(), bytes};
    found->left = found->left.subspan(bytes);
    count += 2;
    guessed += kFrameHead + bytes;
    goes_on = bytes == input.frame_bytes;
  }
  // What comes after that goes into the buffer, leaving room to put what was guessed before it.
  if (guessed < buffer.size() / 2) {
    guesses_[count].stream = 0;
    places[count++] = {buffer.data() + guessed, buffer.size() - guessed};
  }
  return count;
}

void Http2Placing::read(const Http2Input& input, std::span<const iovec> pieces, std::span<std::byte> buffer,
                        const std::function<bool(std::span<const std::byte>)>& read) {
  const auto in_buffer = [&](const iovec& piece) {
    return piece.iov_base >= buffer.data() && piece.iov_base < buffer.data() + buffer.size();
  };
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i == 0 || in_buffer(pieces[i]) || is_as_guessed(input, pieces, i)) {
      if (!read({static_cast<const std::byte*>(pieces[i].iov_base), pieces[i].iov_len})) return;
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
    (void)read({row, filled});
    return;
  }
}

// Whether the session stands where plan() thought that it would before this piece: at the end of a frame if the piece
// is a head, else after the head of a DATA frame of the guessed stream that is not shorter than the piece.
bool Http2Placing::is_as_guessed(const Http2Input& input, std::span<const iovec> pieces, std::size_t i) const {
  if (!input.in_data) return false;
  const Guess& guess = guesses_[i];
  const bool is_head = pieces[i].iov_base == guess.head.data();
  if (is_head) {
    return input.frame_left == 0 && i + 1 < pieces.size() &&
           input.target_of(guess.stream).destination.data() == pieces[i + 1].iov_base;
  }
  return input.data_stream == guess.stream && input.frame_left >= pieces[i].iov_len &&
         input.target_of(guess.stream).destination.data() == pieces[i].iov_base;
}

}  // namespace servoir::http
