#include "protocol/seed/data_type.h"

#include <gtest/gtest.h>

namespace servoir::seed {
namespace {

TEST(SeedDataType, NumbersBothWays) {
  const std::pair<std::uint64_t, const char*> rows[] = {
      {1, "bool"},  {2, "int8"},   {3, "uint8"},    {4, "int16"},    {5, "uint16"},   {6, "int32"}, {7, "uint32"},
      {8, "int64"}, {9, "uint64"}, {10, "float16"}, {11, "float32"}, {12, "float64"}, {13, "str"},  {14, "bytes"},
  };
  for (const auto& [number, name] : rows) {
    const auto type = type_of_number(number);
    ASSERT_TRUE(type.has_value()) << number;
    EXPECT_EQ(name_of(*type), name);
    EXPECT_EQ(number_of_type(*type), number);
    EXPECT_EQ(type_of_name(name), type);
  }
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{15}, std::uint64_t{256} + 1, ~std::uint64_t{0}}) {
    EXPECT_FALSE(type_of_number(number).has_value()) << number;
  }
  EXPECT_EQ(number_of_type(DataType::kBfloat16), 0U);
  EXPECT_EQ(number_of_type(DataType::kUnknown), 0U);
}

TEST(SeedDataType, NamesOfRest) {
  EXPECT_EQ(type_of_name("fp16"), DataType::kFloat16);
  EXPECT_EQ(type_of_name("fp32"), DataType::kFloat32);
  for (const char* name : {"string", "bfloat16", "float", "", "unknown"}) EXPECT_FALSE(type_of_name(name)) << name;
}

}  // namespace
}  // namespace servoir::seed
