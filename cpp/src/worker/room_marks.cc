#include "worker/room_marks.h"

#include <algorithm>
#include <cstring>
#include <random>

namespace servoir {

RoomMarks::RoomMarks(Extent extent) : extent_(extent) {
  std::random_device random;
  for (std::size_t i = 0; i < kBytes; ++i) {
    // Neither mark has a byte that a bool has, or a small integer.
    first_[i] = static_cast<std::byte>(kLeast + random() % (256 - 2 * kLeast));
    second_[i] = ~first_[i];
  }
}

void RoomMarks::put(Which which, std::byte* room, std::uint64_t bytes) const {
  const Pattern& mark = pattern(which);
  if (extent_ == Extent::kEnd) {
    const std::uint64_t size = std::min(kBytes, bytes);
    if (size > 0) std::memcpy(room + (bytes - size), mark.data(), size);
    return;
  }
  for (std::uint64_t at = 0; at < bytes; at += kBytes) {
    std::memcpy(room + at, mark.data(), std::min(kBytes, bytes - at));
  }
}

bool RoomMarks::is_left(Which which, const std::byte* room, std::uint64_t bytes, std::uint64_t written) const {
  const Pattern& mark = pattern(which);
  if (extent_ == Extent::kEnd) {
    const std::uint64_t size = std::min(kBytes, bytes);
    return size > 0 && written == bytes && std::memcmp(room + (bytes - size), mark.data(), size) == 0;
  }
  for (std::uint64_t at = 0; at < written; at += kBytes) {
    if (std::memcmp(room + at, mark.data(), std::min(kBytes, written - at)) == 0) return true;
  }
  return false;
}

}  // namespace servoir
