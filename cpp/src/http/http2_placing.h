// Http2Placing: plans where the bytes that a socket gives next are received, so that the tensors of large messages come
// to lie where they belong without a copy.
//
// How much of the current DATA frame is still to come is known, and where it goes. Which frames follow it is guessed:
// clients send the DATA of their streams in turn, so what followed a stream's frame the last time will follow again,
// with the same size; the heads of such frames go into slots of their own. When something else comes it is found in the
// same pieces, only not where it belongs; it is then put in a row in the receive buffer and read from there. So a wrong
// guess costs a copy, and nothing else depends on guesses.
//
// One object belongs to one connection. It knows no session: what it asks is in Http2Input.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace servoir::http {

// Where an HTTP/2 session stands in its input.
class Http2Input {
 public:
  // A stream's next destination, and the stream whose DATA followed its last; nothing and 0 where that is not known.
  struct Target {
    std::span<std::byte> destination;
    std::int32_t follower = 0;
  };
  [[nodiscard]] virtual Target target_of(std::int32_t stream) const = 0;

  bool in_data = false;          // the input so far ended with the head of a DATA frame, or inside or after its payload
  std::int32_t data_stream = 0;  // of the DATA frame that was begun last; 0 when it is another frame
  std::size_t frame_bytes = 0;   // its payload
  std::size_t frame_left = 0;    // and what of it has not come

 protected:
  ~Http2Input() = default;
};

class Http2Placing {
 public:
  // It is not worth it for less.
  static constexpr std::size_t kLeastPlaced = 16384;

  // Fills in where to receive the next bytes, and returns how many places; 0: there is nothing to be placed. `buffer`
  // takes what belongs nowhere.
  [[nodiscard]] std::size_t plan(const Http2Input& input, std::span<iovec> places, std::span<std::byte> buffer);
  // Hands the pieces that came, in the places of the last plan, to `read` in their order. `read` returns false to stop.
  void read(const Http2Input& input, std::span<const iovec> pieces, std::span<std::byte> buffer,
            const std::function<bool(std::span<const std::byte>)>& read);

 private:
  static constexpr std::size_t kFrameHead = 9;
  static constexpr std::size_t kMostPlaces = 32;
  // What a piece of the input is thought to be.
  struct Guess {
    std::array<std::byte, kFrameHead> head;  // where a frame's head is received
    std::int32_t stream = 0;                 // of the frame; 0: not guessed
  };
  [[nodiscard]] bool is_as_guessed(const Http2Input& input, std::span<const iovec> pieces, std::size_t i) const;

  std::array<Guess, kMostPlaces> guesses_;  // [number of the place], between plan() and read()
};

}  // namespace servoir::http
