#include "protocol/float_text.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace servoir {
namespace {

// "00" to "99".
constexpr std::array<char, 200> kPairs = [] {
  std::array<char, 200> pairs{};
  for (std::size_t i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

void print_four(std::uint32_t value, char* to) {
  std::memcpy(to, &kPairs[std::size_t{value / 100} * 2], 2);
  std::memcpy(to + 2, &kPairs[std::size_t{value % 100} * 2], 2);
}

// A number of nine digits.
void print_nine(std::uint32_t value, char* to) {
  const std::uint32_t last_eight = value % 100000000;
  to[0] = static_cast<char>('0' + value / 100000000);
  print_four(last_eight / 10000, to + 1);
  print_four(last_eight % 10000, to + 5);
}

template <typename T>
char* print_any(T value, char* to) {
  char* const after = std::to_chars(to, to + kFloatChars - 2, value).ptr;
  if (std::any_of(to, after, [](char c) { return c == '.' || c == 'e'; })) return after;
  after[0] = '.';
  after[1] = '0';
  return after + 2;
}

// For 10^-4 < value < 2^23. There doubles are exact: a float has 24 bits and 5^12 has 28, so nine digits are one
// product away. Nine always read back as the same float; eight or seven do if they are nearer to it than half the
// distance to its neighbour. How many it takes follows no pattern, so nothing branches on it.
char* print_usual(float value, char* to) {
  constexpr std::array<double, 12> kFirstOfPlace = {1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};
  constexpr std::array<double, 13> kPowers = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
  constexpr std::uint32_t kFraction = (1U << 23U) - 1;
  const double exact = value;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  // Digits before the point, less than 1 for zeros after it: first from the power of two (0.30103 is log10(2)).
  const int power_of_two = static_cast<int>(bits >> 23U) - 127;
  int place = (power_of_two * 1233 >> 12) + 1;
  place += exact >= kFirstOfPlace[static_cast<std::size_t>(place + 4)] ? 1 : 0;

  int decimals = 9 - place;  // that make nine digits
  const double scale = kPowers[static_cast<std::size_t>(decimals)];
  const double scaled = exact * scale;
  // Half a unit in the last place (a quarter below a power of two), and a little less: a reader may round twice.
  const auto unit = std::bit_cast<double>(static_cast<std::uint64_t>(power_of_two - 24 + 1023) << 52U);
  const double near = unit * scale * ((bits & kFraction) == 0 ? 0.4999999 : 0.9999999);
  const auto nine = static_cast<std::uint32_t>(static_cast<std::int64_t>(scaled + 0.5));
  const std::uint32_t eight = static_cast<std::uint32_t>(static_cast<std::int64_t>(scaled * 0.1 + 0.5)) * 10;
  const std::uint32_t seven = static_cast<std::uint32_t>(static_cast<std::int64_t>(scaled * 0.01 + 0.5)) * 100;
  const bool eight_do = std::fabs(static_cast<double>(eight) - scaled) < near;
  const bool seven_do = eight_do && std::fabs(static_cast<double>(seven) - scaled) < near;
  std::uint32_t digits = seven_do ? seven : eight_do ? eight : nine;
  if (digits == 1000000000) {  // rounded up to a power of ten, as 0.01F is
    digits = 100000000;
    ++place;
    --decimals;
  }

  char* point = nullptr;
  if (place <= 0) {
    std::memcpy(to, "0.0000", 6);
    point = to + 1;
    print_nine(digits, point + 1 - place);
  } else {
    point = to + place;
    print_nine(digits, to);
    std::array<char, 8> behind;  // nine digits have at most eight after the point
    std::memcpy(behind.data(), point, behind.size());
    *point = '.';
    std::memcpy(point + 1, behind.data(), behind.size());
  }
  char* end = point + 1 + decimals - (eight_do ? 1 : 0) - (seven_do ? 1 : 0);
  if (seven_do) {  // only then can zeros be left at the end
    end = std::max(end, point + 2);
    while (end > point + 2 && end[-1] == '0') --end;
  }
  return end;
}

}  // namespace

char* print_float(float value, char* to) {
  const float magnitude = std::fabs(value);
  if (!(magnitude > 1e-4F && magnitude < 8388608.0F)) return print_any(value, to);
  *to = '-';
  to += std::signbit(value) ? 1 : 0;
  return print_usual(magnitude, to);
}

char* print_float(double value, char* to) { return print_any(value, to); }

}  // namespace servoir
