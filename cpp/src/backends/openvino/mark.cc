#include "mark.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace servoir::openvino {
namespace {

constexpr std::array<unsigned char, 16> kUnwritten = {0xA5, 0x1F, 0x7E, 0xC3, 0x98, 0xD1, 0x4B, 0xE7,
                                                      0x36, 0xF2, 0x8D, 0x5A, 0xB9, 0x64, 0xCE, 0xA5};

unsigned char mark_byte(std::size_t index, Mark mark) {
  const unsigned char byte = kUnwritten[index];
  return mark == Mark::kFirst ? byte : static_cast<unsigned char>(~byte);
}

// Memory that is smaller than the mark gets its beginning.
std::size_t mark_bytes(std::uint64_t bytes) {
  return static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kUnwritten.size()));
}

}  // namespace

void put_mark(void* data, std::uint64_t bytes, Mark mark) {
  const std::size_t size = mark_bytes(bytes);
  auto* end = static_cast<unsigned char*>(data) + (bytes - size);
  for (std::size_t i = 0; i < size; ++i) end[i] = mark_byte(i, mark);
}

bool has_mark(const void* data, std::uint64_t bytes, Mark mark) {
  const std::size_t size = mark_bytes(bytes);
  const auto* end = static_cast<const unsigned char*>(data) + (bytes - size);
  for (std::size_t i = 0; i < size; ++i) {
    if (end[i] != mark_byte(i, mark)) return false;
  }
  return true;
}

}  // namespace servoir::openvino
