// Prints floats for JSON: few digits that read back as the same float, always with a fraction or an exponent.
//
// Pure functions; any thread.
#pragma once

#include <cstddef>

namespace servoir {

// Room that print_float needs; the longest text is "-2.2250738585072014e-308".
inline constexpr std::size_t kFloatChars = 32;

// Writes a finite value at `to`, and perhaps beyond the end that it returns, but no more than kFloatChars.
[[nodiscard]] char* print_float(float value, char* to);
[[nodiscard]] char* print_float(double value, char* to);

}  // namespace servoir
