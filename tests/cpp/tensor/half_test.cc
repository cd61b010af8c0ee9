#include "tensor/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace servoir {
namespace {

TEST(Half, EveryFloat16ComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float wide = from_float16(half);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(from_float16(to_float16(wide)))) << bits;
    } else {
      EXPECT_EQ(to_float16(wide), half) << bits;
    }
  }
}

TEST(Half, Float16IsTheNearestAndEvenOnATie) {
  EXPECT_EQ(to_float16(1.0F), 0x3C00U);
  EXPECT_EQ(to_float16(-2.0F), 0xC000U);
  EXPECT_EQ(to_float16(1.0F + 0x1p-11F), 0x3C00U);  // between 1 and the next
  EXPECT_EQ(to_float16(1.0F + 0x3p-11F), 0x3C02U);
  EXPECT_EQ(to_float16(1.0F + 0x1.1p-11F), 0x3C01U);
  EXPECT_EQ(to_float16(0x1p-24F), 1U);
  EXPECT_EQ(to_float16(0x1p-25F), 0U);
  EXPECT_EQ(to_float16(0x1.8p-24F), 2U);
  EXPECT_EQ(to_float16(65504.0F), 0x7BFFU);
  EXPECT_EQ(to_float16(65519.0F), 0x7BFFU);
  EXPECT_EQ(to_float16(65520.0F), 0x7C00U);
  EXPECT_EQ(to_float16(-std::numeric_limits<float>::infinity()), 0xFC00U);
}

TEST(Half, Bfloat16IsTheFrontOfAFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float wide = from_bfloat16(half);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(from_bfloat16(to_bfloat16(wide)))) << bits;
    } else {
      EXPECT_EQ(to_bfloat16(wide), half) << bits;
    }
  }
  EXPECT_EQ(to_bfloat16(1.0F + 0x1p-8F), 0x3F80U);
  EXPECT_EQ(to_bfloat16(1.0F + 0x3p-8F), 0x3F82U);
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()), 0x7F80U);
}

}  // namespace
}  // namespace servoir
