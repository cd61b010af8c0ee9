// RoomMarks: shows whether a model has written the rooms that it was given.
//
// A room is memory that others have used before, so what a model leaves as it was may be another client's values. A
// mark is put into each room before a run and looked for afterwards. Usually it is a few bytes at the end of a room,
// which costs next to nothing. In a debug mode it fills rooms, and a room passes only if no part of the mark is left.
// Marks are random, and where one is found the batch is run again with the other mark, of which every bit is
// different: so no result looks like an unwritten room.
//
// A RoomMarks is not changed after it was made; any thread may use it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace servoir {

class RoomMarks {
 public:
  enum class Which : std::uint8_t { kFirst, kSecond };
  enum class Extent : std::uint8_t { kEnd, kWhole };

  explicit RoomMarks(Extent extent);

  void put(Which which, std::byte* room, std::uint64_t bytes) const;
  // Whether the mark is still there, or with kWhole a part of it, after a result of `written` bytes was given as being
  // in the room. Where that is smaller than the room, only kWhole can tell.
  [[nodiscard]] bool is_left(Which which, const std::byte* room, std::uint64_t bytes, std::uint64_t written) const;

 private:
  static constexpr std::uint64_t kBytes = 16;
  static constexpr unsigned kLeast = 16;  // of a byte of a mark; the largest is as far from 255
  using Pattern = std::array<std::byte, kBytes>;

  [[nodiscard]] const Pattern& pattern(Which which) const { return which == Which::kFirst ? first_ : second_; }

  Extent extent_;
  Pattern first_{};
  Pattern second_{};
};

}  // namespace servoir
