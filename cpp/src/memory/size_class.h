// The sizes in which the arena hands out small blocks. There are four steps for each doubling, so that at most a fifth
// of a block is wasted. Blocks of more than kMaxSmall bytes have pages of their own.
//
// All functions are pure.
#pragma once

#include <bit>
#include <cstdint>

namespace servoir {

inline constexpr std::uint64_t kBlockAlign = 64;  // of every block, in bytes
inline constexpr std::uint64_t kMinSmall = 256;
inline constexpr std::uint64_t kMaxSmall = 256ULL << 10U;
inline constexpr std::uint64_t kPage = 4096;

[[nodiscard]] constexpr std::uint32_t size_class(std::uint64_t bytes) {  // bytes <= kMaxSmall
  if (bytes <= kMinSmall) return 0;
  const std::uint64_t last = bytes - 1;
  const auto doubling = static_cast<std::uint32_t>(std::bit_width(last)) - 1;  // at least 8
  return (doubling - 8) * 4 + static_cast<std::uint32_t>((last >> (doubling - 2)) & 3U) + 1;
}
[[nodiscard]] constexpr std::uint64_t class_bytes(std::uint32_t index) {
  if (index == 0) return kMinSmall;
  const std::uint64_t base = kMinSmall << ((index - 1) / 4);
  return base + ((index - 1) % 4 + 1) * (base / 4);
}
inline constexpr std::uint32_t kSizeClasses = size_class(kMaxSmall) + 1;

// Blocks of one class are carved from a run of consecutive pages: at least 64 KiB and four blocks.
[[nodiscard]] constexpr std::uint64_t run_pages(std::uint32_t index) {
  const std::uint64_t bytes = 4 * class_bytes(index);
  return ((bytes < 65536 ? 65536 : bytes) + kPage - 1) / kPage;
}

}  // namespace servoir
