// Arithmetic on lengths and offsets that come from outside. The functions return false where the result would wrap.
#pragma once

#include <cstdint>

namespace servoir {

[[nodiscard]] inline bool checked_add(std::uint64_t a, std::uint64_t b, std::uint64_t* out) {
  return !__builtin_add_overflow(a, b, out);
}
[[nodiscard]] inline bool checked_mul(std::uint64_t a, std::uint64_t b, std::uint64_t* out) {
  return !__builtin_mul_overflow(a, b, out);
}
// Whether [offset, offset + bytes) lies inside [0, size).
[[nodiscard]] inline bool within(std::uint64_t offset, std::uint64_t bytes, std::uint64_t size) {
  return bytes <= size && offset <= size - bytes;
}
[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t power_of_two) {
  return (n + power_of_two - 1) & ~(power_of_two - 1);
}

}  // namespace servoir
