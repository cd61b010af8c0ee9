#include "protocol/json_tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "protocol/json_document.h"
#include "tensor/half.h"

namespace servoir {
namespace {

// The elements as numbers, after "DTYPE SHAPE: "; or the error.
std::string read(const std::string& json, DataType dtype, bool nonfinite = false) {
  const simdjson::padded_string text(json);
  JsonDocument document;
  if (const Status parsed = document.parse(text, "a value", nonfinite); !parsed.ok())
    return std::string(parsed.message());
  const Result<JsonForm> form = json_form(document.root(), document);
  if (!form.ok()) return std::string(form.status().message());
  std::vector<std::byte> bytes(static_cast<std::size_t>(form->count) * element_bytes(dtype));
  const Status filled = fill_as(document.root(), *form, dtype, bytes.data());
  if (!filled.ok()) return std::string(filled.message());
  std::string out = form->shape.text() + ":";
  for (std::size_t i = 0; i < form->count; ++i) {
    const auto add = [&]<typename T>(T value) {
      std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
      out += " " + std::to_string(value);
    };
    const auto half = [&](float (*widen)(std::uint16_t)) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + i * 2, 2);
      out += " " + std::to_string(widen(bits));
    };
    switch (dtype) {
      case DataType::kBool:
      case DataType::kUint8:
        add(std::uint8_t{});
        break;
      case DataType::kInt8:
        add(std::int8_t{});
        break;
      case DataType::kInt16:
        add(std::int16_t{});
        break;
      case DataType::kUint16:
        add(std::uint16_t{});
        break;
      case DataType::kInt32:
        add(std::int32_t{});
        break;
      case DataType::kUint32:
        add(std::uint32_t{});
        break;
      case DataType::kInt64:
        add(std::int64_t{});
        break;
      case DataType::kUint64:
        add(std::uint64_t{});
        break;
      case DataType::kFloat32:
        add(float{});
        break;
      case DataType::kFloat64:
        add(double{});
        break;
      case DataType::kFloat16:
        half(from_float16);
        break;
      default:
        half(from_bfloat16);
        break;
    }
  }
  return out;
}

TEST(JsonTensor, NumbersOfAnyKindBecomeWhatIsWanted) {
  EXPECT_EQ(read("[1, 2.5, 3]", DataType::kFloat32), "[3]: 1.000000 2.500000 3.000000");
  EXPECT_EQ(read("[[1, 2], [3.0, -4]]", DataType::kInt64), "[2, 2]: 1 2 3 -4");
  EXPECT_EQ(read("[1, 0.5]", DataType::kFloat16), "[2]: 1.000000 0.500000");
  EXPECT_EQ(read("[1, 0.5]", DataType::kBfloat16), "[2]: 1.000000 0.500000");
  EXPECT_EQ(read("7", DataType::kFloat64), "[]: 7.000000");
  EXPECT_EQ(read("[true, 0, 1.0, false]", DataType::kBool), "[4]: 1 0 1 0");
  EXPECT_EQ(read("[18446744073709551615, 0]", DataType::kUint64), "[2]: 18446744073709551615 0");
  EXPECT_EQ(read("[-9223372036854775808, -9223372036854775808.0]", DataType::kInt64),
            "[2]: -9223372036854775808 -9223372036854775808");
}

TEST(JsonTensor, WhatDoesNotFitIsRefusedWithItsPlace) {
  EXPECT_EQ(read("[[1, 2], [3, 256]]", DataType::kUint8), "the number 256 at [1, 1] does not fit uint8");
  EXPECT_EQ(read("-1", DataType::kUint32), "the number -1 does not fit uint32");
  EXPECT_EQ(read("[0, 1.5]", DataType::kInt32), "the number 1.5 at [1] does not fit int32");
  EXPECT_EQ(read("[9223372036854775808]", DataType::kInt64),
            "the number 9223372036854775808 at [0] does not fit int64");
  EXPECT_EQ(read("[9223372036854775808.0]", DataType::kInt64).substr(0, 10), "the number");
  EXPECT_EQ(read("[18446744073709551616.0]", DataType::kUint64).substr(0, 10), "the number");
  EXPECT_EQ(read("[2]", DataType::kBool), "the number 2 at [0] does not fit bool");
  EXPECT_EQ(read("[16777217]", DataType::kFloat32), "the number 16777217 at [0] does not fit float32");
  EXPECT_EQ(read("[16777216]", DataType::kFloat32), "[1]: 16777216.000000");
  EXPECT_EQ(read("[1e39]", DataType::kFloat32).substr(0, 10), "the number");
  EXPECT_EQ(read("[65536]", DataType::kFloat16), "the number 65536 at [0] does not fit float16");
  EXPECT_EQ(read("[2049]", DataType::kFloat16), "the number 2049 at [0] does not fit float16");
  EXPECT_EQ(read("[1, true]", DataType::kInt32), "a bool at [1] is no int32");
  EXPECT_EQ(read("[1, \"2\"]", DataType::kFloat32), "a string at [1] is no float32");
  EXPECT_EQ(read("[1, null]", DataType::kFloat32), "null at [1] is no float32");
}

TEST(JsonTensor, FormsThatAreNone) {
  EXPECT_NE(read("[[1, 2], [3]]", DataType::kFloat32).find("ragged"), std::string::npos);
  EXPECT_NE(read("[[1, 2], 3]", DataType::kFloat32).find("ragged"), std::string::npos);
  EXPECT_NE(read("[[[[[[[[[1]]]]]]]]]", DataType::kFloat32).find("nested deeper"), std::string::npos);
  EXPECT_NE(read("", DataType::kFloat32).find("expected a value"), std::string::npos);
  EXPECT_NE(read("[1", DataType::kFloat32).find("is not JSON"), std::string::npos);
}

TEST(JsonTensor, NothingIsAValue) {
  EXPECT_EQ(read("[]", DataType::kInt64), "[0]:");
  EXPECT_EQ(read("[[], []]", DataType::kFloat32), "[2, 0]:");
  for (const char* json : {"[[], [1]]", "[[], 1]", "[[], [[]]]", "[[[]], []]"}) {
    EXPECT_NE(read(json, DataType::kFloat32).find("ragged"), std::string::npos) << json;
  }
}

TEST(JsonTensor, APortSaysWhatFollowsZero) {
  const simdjson::padded_string text(std::string("[[], []]"));
  JsonDocument document;
  ASSERT_TRUE(document.parse(text, "a value").ok());
  const JsonForm form = json_form(document.root(), document).value();
  EXPECT_EQ(form.dtype, DataType::kFloat32);
  EXPECT_EQ(shape_at(form, {"x", DataType::kFloat32, true, Shape({kDynamic, kDynamic, 4, kDynamic})}),
            Shape({2, 0, 4, 0}));
  EXPECT_EQ(shape_at(form, {"x", DataType::kFloat32, true, Shape({kDynamic})}), Shape({2, 0}));
  EXPECT_EQ(shape_at(form, {"x", DataType::kFloat32, false, Shape()}), Shape({2, 0}));
}

// "DTYPE: " and the elements, or the error.
std::string read_untyped(const std::string& json, bool nonfinite = false) {
  const simdjson::padded_string text(json);
  JsonDocument document;
  if (const Status parsed = document.parse(text, "a value", nonfinite); !parsed.ok()) {
    return std::string(parsed.message());
  }
  const JsonForm form = json_form(document.root(), document).value();
  std::vector<std::byte> bytes(static_cast<std::size_t>(form.count) * element_bytes(form.dtype));
  const Result<DataType> dtype = fill_untyped(document.root(), form, bytes.data());
  if (!dtype.ok()) return std::string(dtype.status().message());
  EXPECT_EQ(element_bytes(*dtype), element_bytes(form.dtype));
  std::string out = std::string(name_of(*dtype)) + ":";
  for (std::size_t i = 0; i < form.count; ++i) {
    float number = 0;
    std::int32_t integer = 0;
    std::memcpy(&number, bytes.data() + i * element_bytes(*dtype), element_bytes(*dtype));
    std::memcpy(&integer, bytes.data() + i * element_bytes(*dtype), element_bytes(*dtype));
    out += " " + (*dtype == DataType::kFloat32 ? std::to_string(number) : std::to_string(integer));
  }
  return out;
}

TEST(JsonTensor, IntegersAndFloatsTogetherAreFloatsWhereNothingElseIsKnown) {
  EXPECT_EQ(read_untyped("[1, 2, 3]"), "int32: 1 2 3");
  EXPECT_EQ(read_untyped("[1, 2.5, 3]"), "float32: 1.000000 2.500000 3.000000");
  EXPECT_EQ(read_untyped("[[2.5, 1], [3, 4]]"), "float32: 2.500000 1.000000 3.000000 4.000000");
  EXPECT_EQ(read_untyped("[[1, 4294967296], [3, 0.5]]"), "float32: 1.000000 4294967296.000000 3.000000 0.500000");
  EXPECT_EQ(read_untyped("[1, 2.0]"), "float32: 1.000000 2.000000");
  EXPECT_EQ(read_untyped("[1, 1e39]"), "float32: 1.000000 inf");
  EXPECT_EQ(read_untyped("[true, false]"), "bool: 1 0");
  EXPECT_EQ(read_untyped("[[1, 0.5], [16777217, 2]]"), "the number 16777217 at [1, 0] does not fit float32");
  EXPECT_EQ(read_untyped("[true, 1]"), "the number 1 at [1] does not fit bool");
  EXPECT_EQ(read_untyped("[1, true]"), "a bool at [1] is no int32");
  EXPECT_EQ(read_untyped("[1, true, 0.5]"), "a bool at [1] is no float32");
  EXPECT_NE(read_untyped("[1, 2147483648]").find("2147483648 at [1] does not fit int32, the type of integers for"),
            std::string::npos);
  EXPECT_NE(read_untyped("[[1, 2], [0.5]]").find("ragged"), std::string::npos);
}

// As JavaScript's JSON.stringify and Go's encoding/json write them.
TEST(JsonTensor, FloatsThatAreWrittenAsIntegersBeyond64Bits) {
  const std::string four = "[100000000000000000000, -36893488147419103000, 1.5, 18446744073709552000]";
  EXPECT_EQ(read(four, DataType::kFloat64),
            "[4]: 100000000000000000000.000000 -36893488147419103232.000000 1.500000 18446744073709551616.000000");
  EXPECT_EQ(read(four, DataType::kFloat32),
            "[4]: 100000002004087734272.000000 -36893488147419103232.000000 1.500000 18446744073709551616.000000");
  EXPECT_EQ(read_untyped(four).substr(0, 8), "float32:");
  EXPECT_EQ(read("[1, 100000000000000000000]", DataType::kInt64), "the number 1e+20 at [1] does not fit int64");
  // Integers of 64 bits stay what they are beside such a number.
  EXPECT_EQ(read("[18446744073709551600, 100000000000000000000]", DataType::kUint64),
            "the number 1e+20 at [1] does not fit uint64");
  EXPECT_EQ(read("[-9223372036854775800, NaN]", DataType::kInt64, true), "the number NaN at [1] does not fit int64");
  const std::string both = "[NaN, -9223372036854775900]";
  EXPECT_EQ(read(both, DataType::kFloat64, true), "[2]: nan -9223372036854775808.000000");
  // No float is written so, and texts are no numbers.
  for (const std::string text : {"[18446744073709551617]", "[0100000000000000000000]", "[1000000000000000000.]",
                                 "[\"100000000000000000000\", 01]"}) {
    EXPECT_NE(read(text, DataType::kFloat64).find("a number that is malformed"), std::string::npos) << text;
  }
}

TEST(JsonTensor, NonfiniteNumbersAreTakenWhereAskedFor) {
  const std::string three = "[NaN, 1, Infinity, -Infinity, -2.5]";
  const std::string read_three = "nan 1.000000 inf -inf -2.500000";
  for (const DataType dtype : {DataType::kFloat16, DataType::kBfloat16, DataType::kFloat32, DataType::kFloat64}) {
    EXPECT_EQ(read(three, dtype, true), "[5]: " + read_three);
  }
  EXPECT_EQ(read_untyped(three, true), "float32: " + read_three);
  EXPECT_EQ(read_untyped("[1, NaN]", true), "float32: 1.000000 nan");
  EXPECT_EQ(read_untyped("-Infinity", true), "float32: -inf");
  EXPECT_EQ(read("[[1, 2], [3, NaN]]", DataType::kInt64, true), "the number NaN at [1, 1] does not fit int64");
  EXPECT_EQ(read("[-Infinity]", DataType::kBool, true), "the number -Infinity at [0] does not fit bool");
  EXPECT_EQ(read("[1, {}]", DataType::kFloat32, true), "an object at [1] is no float32");
}

TEST(JsonTensor, NonfiniteNumbersAreRefusedWithTheirPlace) {
  const auto at = [](const std::string& json, const std::string& place) {
    const std::string error = read(json, DataType::kFloat32);
    EXPECT_NE(error.find("it has " + place + ";"), std::string::npos) << json << " gives " << error;
    EXPECT_NE(error.find("SERVOIR_JSON_NAN=1"), std::string::npos);
  };
  at("NaN", "NaN at the beginning");
  at("[1, -Infinity]", "-Infinity at [1]");
  at(R"({"instances": [{"a": "NaN, \"{[", "x": 1}, {"a": [[]], "x": [[1], [2, NaN]]}]})",
     "NaN at instances[1].x[1][1]");
  at(R"({"instances": {"x": Infinity, "y": NaN}})", "Infinity at instances.x");
  // Other texts that are no JSON are not about them.
  EXPECT_EQ(read("[\"NaN\", 01]", DataType::kFloat32).find("NaN"), std::string::npos);
  EXPECT_EQ(read("[1, nan]", DataType::kFloat32).find("SERVOIR_JSON_NAN"), std::string::npos);
  EXPECT_NE(read("[NaN, 1", DataType::kFloat32, true).find("not JSON"), std::string::npos);
  EXPECT_NE(read("[NaN, nan]", DataType::kFloat32, true).find("not JSON"), std::string::npos);
  EXPECT_NE(read(std::string(100000, '[') + "NaN", DataType::kFloat32).find("not JSON"), std::string::npos);
}

}  // namespace
}  // namespace servoir
