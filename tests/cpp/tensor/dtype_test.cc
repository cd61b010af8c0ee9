#include "tensor/dtype.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

struct Row {
  DataType type;
  const char* name;
  std::uint32_t bytes;
};
constexpr Row kRows[] = {
    {DataType::kBool, "bool", 1},       {DataType::kInt8, "int8", 1},       {DataType::kUint8, "uint8", 1},
    {DataType::kInt16, "int16", 2},     {DataType::kUint16, "uint16", 2},   {DataType::kInt32, "int32", 4},
    {DataType::kUint32, "uint32", 4},   {DataType::kInt64, "int64", 8},     {DataType::kUint64, "uint64", 8},
    {DataType::kFloat16, "float16", 2}, {DataType::kFloat32, "float32", 4}, {DataType::kFloat64, "float64", 8},
    {DataType::kString, "str", 0},      {DataType::kBytes, "bytes", 0},     {DataType::kBfloat16, "bfloat16", 2},
};

TEST(DType, NamesAndSizesBothWays) {
  std::uint64_t number = 1;
  for (const Row& row : kRows) {
    EXPECT_EQ(static_cast<std::uint64_t>(row.type), number);
    EXPECT_TRUE(is_known(number));
    EXPECT_EQ(name_of(row.type), row.name);
    EXPECT_EQ(data_type_of(row.name), row.type);
    EXPECT_EQ(element_bytes(row.type), row.bytes);
    EXPECT_EQ(is_text(row.type), row.bytes == 0);
    ++number;
  }
  EXPECT_FALSE(is_known(number));
}

TEST(DType, Aliases) {
  EXPECT_EQ(data_type_of("fp16"), DataType::kFloat16);
  EXPECT_EQ(data_type_of("fp32"), DataType::kFloat32);
  EXPECT_EQ(data_type_of("fp64"), DataType::kFloat64);
  EXPECT_EQ(data_type_of("string"), DataType::kString);
}

TEST(DType, WhatDoesNotExist) {
  for (const char* name : {"", "unknown", "float", "Float32", "float32 ", "complex64"}) {
    EXPECT_EQ(data_type_of(name), std::nullopt) << name;
  }
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{16}, std::uint64_t{256}, ~std::uint64_t{0}}) {
    EXPECT_FALSE(is_known(number)) << number;
  }
  EXPECT_EQ(element_bytes(static_cast<DataType>(200)), 0U);
  EXPECT_EQ(name_of(static_cast<DataType>(200)), "unknown");
}

}  // namespace
}  // namespace servoir
