#include "protocol/float_text.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>

namespace servoir {
namespace {

template <typename T>
std::string text_of(T value) {
  std::array<char, kFloatChars + 8> buffer{};
  buffer.fill('#');
  const char* const end = print_float(value, buffer.data());
  for (std::size_t i = kFloatChars; i < buffer.size(); ++i) EXPECT_EQ(buffer[i], '#');
  return {buffer.data(), static_cast<std::size_t>(end - buffer.data())};
}

void expect_read_back(float value) {
  const std::string text = text_of(value);
  float as_float = 0;
  double as_double = 0;
  const char* const end = text.data() + text.size();
  ASSERT_EQ(std::from_chars(text.data(), end, as_float).ptr, end) << text;
  ASSERT_EQ(std::from_chars(text.data(), end, as_double).ptr, end) << text;
  ASSERT_EQ(as_float, value) << text;
  ASSERT_EQ(static_cast<float>(as_double), value) << text;  // as readers do that know doubles only
  ASSERT_NE(text.find_first_of(".e"), std::string::npos) << text;
}

TEST(FloatText, UsualValues) {
  EXPECT_EQ(text_of(0.0F), "0.0");
  EXPECT_EQ(text_of(-0.0F), "-0.0");
  EXPECT_EQ(text_of(1.0F), "1.0");
  EXPECT_EQ(text_of(-1.5F), "-1.5");
  EXPECT_EQ(text_of(0.1F), "0.1");
  EXPECT_EQ(text_of(0.5F), "0.5");
  EXPECT_EQ(text_of(0.01F), "0.01");
  EXPECT_EQ(text_of(0.001F), "0.001");
  EXPECT_EQ(text_of(3.14159274F), "3.1415927");
  EXPECT_EQ(text_of(100.0F), "100.0");
  EXPECT_EQ(text_of(1234567.0F), "1234567.0");
  EXPECT_EQ(text_of(8388607.5F), "8388607.5");
  EXPECT_EQ(text_of(8388608.0F), "8388608.0");
  EXPECT_EQ(text_of(1e20F), "1e+20");
  EXPECT_EQ(text_of(std::numeric_limits<float>::max()), "3.4028235e+38");
  EXPECT_EQ(text_of(std::numeric_limits<float>::denorm_min()), "1e-45");
  EXPECT_EQ(text_of(0.1), "0.1");
  EXPECT_EQ(text_of(100.0), "100.0");
  EXPECT_EQ(text_of(-2.2250738585072014e-308), "-2.2250738585072014e-308");
}

TEST(FloatText, FloatsOfAllSizesReadBack) {
  for (std::uint64_t bits = 0; bits < 0x7F800000U; bits += 10007) {
    expect_read_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    expect_read_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits | 0x80000000U)));
  }
}

TEST(FloatText, NeighboursOfPowersReadBack) {
  for (int exponent = -149; exponent <= 127; ++exponent) {
    const float power = std::ldexp(1.0F, exponent);
    for (const float value : {std::nextafter(power, 0.0F), power, std::nextafter(power, INFINITY)}) {
      expect_read_back(value);
    }
  }
  for (int exponent = -45; exponent <= 38; ++exponent) {
    const auto power = static_cast<float>(std::pow(10.0, exponent));
    for (const float value : {std::nextafter(power, 0.0F), power, std::nextafter(power, INFINITY)}) {
      expect_read_back(value);
    }
  }
}

TEST(FloatText, DecimalsComeBackAsTheyWere) {
  std::mt19937 random(2);
  for (int round = 0; round < 100000; ++round) {
    const auto digits = static_cast<double>(1 + random() % 999999);  // six digits always survive
    const double scale = std::pow(10.0, static_cast<int>(1 + random() % 4));
    std::array<char, 32> expected{};
    const auto value = static_cast<float>(digits / scale);
    if (value <= 1e-4F || value >= 8388608.0F) continue;
    const char* const end = std::to_chars(expected.data(), expected.data() + expected.size(), digits / scale).ptr;
    std::string text(expected.data(), static_cast<std::size_t>(end - expected.data()));
    if (text.find('e') != std::string::npos) continue;
    if (text.find('.') == std::string::npos) text += ".0";
    ASSERT_EQ(text_of(value), text);
  }
}

}  // namespace
}  // namespace servoir
