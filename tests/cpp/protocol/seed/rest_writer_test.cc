#include "protocol/seed/rest_writer.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <cmath>
#include <limits>
#include <random>

#include "protocol/json_writer.h"
#include "protocol_world.h"
#include "tensor/text_array.h"

namespace servoir::seed {
namespace {

class RestWriter : public ::testing::Test {
 protected:
  std::shared_ptr<Request> request(const std::string& method, std::uint32_t instances) {
    return make_request(ProtocolWorld::must(world.scheduler->find("add", 0, method)), instances);
  }
  // "STATUS body"; the body must be JSON.
  static std::string reply(const Request& of) {
    Payload payload;
    const int status = write_rest_reply(of, &payload);
    const std::string body = payload_text(&payload);
    simdjson::dom::parser parser;
    EXPECT_EQ(parser.parse(body).error(), simdjson::SUCCESS) << body.substr(0, 200);
    return std::to_string(status) + " " + body;
  }
  // How one output value is written.
  std::string value(TensorRef tensor) {
    auto of = request("echo", 1);
    of->at(1, 0) = std::move(tensor);
    const std::string text = reply(*of);
    constexpr std::string_view kBefore = "200 {\"instances\":[{\"y\":";
    EXPECT_TRUE(text.starts_with(kBefore)) << text;
    EXPECT_TRUE(text.ends_with("}]}")) << text;
    return text.substr(kBefore.size(), text.size() - kBefore.size() - 3);
  }
  template <typename T>
  std::string numbers(DataType dtype, const Shape& shape, const std::vector<T>& values) {
    return value(make_numbers(world.arena.get(), dtype, shape, values));
  }
  std::string text(DataType dtype, std::string_view bytes) {
    return value(make_tensor(world.arena.get(), dtype, {}, bytes));
  }

  ProtocolWorld world;
};

TEST_F(RestWriter, Integers) {
  EXPECT_EQ(numbers<std::int8_t>(DataType::kInt8, {3}, {-128, 0, 127}), "[-128,0,127]");
  EXPECT_EQ(numbers<std::uint8_t>(DataType::kUint8, {}, {255}), "255");
  EXPECT_EQ(numbers<std::int16_t>(DataType::kInt16, {1, 1}, {-32768}), "[[-32768]]");
  EXPECT_EQ(numbers<std::uint16_t>(DataType::kUint16, {2}, {0, 65535}), "[0,65535]");
  EXPECT_EQ(numbers<std::int32_t>(DataType::kInt32, {2, 2}, {1, -2, 3, -4}), "[[1,-2],[3,-4]]");
  EXPECT_EQ(numbers<std::uint32_t>(DataType::kUint32, {}, {4294967295U}), "4294967295");
  EXPECT_EQ(numbers<std::int64_t>(DataType::kInt64, {}, {std::numeric_limits<std::int64_t>::min()}),
            "-9223372036854775808");
  EXPECT_EQ(numbers<std::uint64_t>(DataType::kUint64, {}, {std::numeric_limits<std::uint64_t>::max()}),
            "18446744073709551615");
  EXPECT_EQ(numbers<std::uint8_t>(DataType::kBool, {2, 1}, {0, 1}), "[[false],[true]]");
}

TEST_F(RestWriter, StopsWhereThereIsNoMemory) {
  const std::vector<float> values(1'000'000, 1.5F);
  auto of = request("echo", 1);
  of->at(1, 0) = make_numbers(world.arena.get(), DataType::kFloat32, {1'000'000}, values);
  EXPECT_EQ(least_rest_reply(*of, UINT64_MAX), 1'999'999U);
  EXPECT_EQ(least_rest_reply(*of, 1000), 1000U);
  std::uint64_t most = 0;
  Payload payload;
  const int status = write_rest_reply(*of, &payload, [&](std::uint64_t bytes) {
    most = bytes;
    return bytes < 100'000;
  });
  EXPECT_EQ(status, 503);
  EXPECT_LT(most, 200'000U) << "it is asked as the text grows";
  EXPECT_TRUE(payload_text(&payload).starts_with(R"({"error_msg":"the answer finds no memory after )"));
  Payload kept;
  JsonWriter json(&kept, UINT64_MAX, [](std::uint64_t bytes) { return bytes < 100'000; });
  json.tensor(of->at(1, 0));
  json.flush();
  EXPECT_TRUE(json.full());
  EXPECT_LT(kept.size(), 200'000U);
}

TEST_F(RestWriter, FloatsHaveAFractionOrAnExponent) {
  EXPECT_EQ(numbers<float>(DataType::kFloat32, {4}, {1.0F, -0.0F, 0.1F, 16777216.0F}), "[1.0,-0.0,0.1,16777216.0]");
  EXPECT_EQ(numbers<float>(DataType::kFloat32, {2}, {1e20F, 1.5e-30F}), "[1e+20,1.5e-30]");
  EXPECT_EQ(numbers<double>(DataType::kFloat64, {4}, {0.1, 100.0, 1e300, -2.2250738585072014e-308}),
            "[0.1,100.0,1e+300,-2.2250738585072014e-308]");
  EXPECT_EQ(numbers<float>(DataType::kFloat32, {3}, {NAN, INFINITY, -INFINITY}), "[null,null,null]");
  EXPECT_EQ(numbers<double>(DataType::kFloat64, {}, {NAN}), "null");
}

TEST_F(RestWriter, EveryFloatComesBack) {
  std::mt19937 random(5);
  std::vector<float> values;
  for (int i = 0; i < 200000; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(random());
    float value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    values.push_back(std::isfinite(value) ? value : static_cast<float>(i));
  }
  for (int i = 0; i < 100000; ++i) values.push_back(static_cast<float>(i - 50000) / 8);
  const std::string json = numbers(DataType::kFloat32, {static_cast<std::int64_t>(values.size())}, values);
  simdjson::dom::parser parser;
  simdjson::dom::array array;
  ASSERT_EQ(parser.parse(json).get(array), simdjson::SUCCESS);
  std::size_t i = 0;
  for (const simdjson::dom::element element : array) {
    ASSERT_TRUE(element.is_double()) << values[i];
    ASSERT_EQ(static_cast<float>(double(element)), values[i]);
    ++i;
  }
  EXPECT_EQ(i, values.size());
}

TEST_F(RestWriter, Bfloat16IsPrintedAsTheFloatThatItIs) {
  EXPECT_EQ(numbers<std::uint16_t>(DataType::kBfloat16, {3}, {0x3F80, 0xC000, 0x7F80}), "[1.0,-2.0,null]");
}

TEST_F(RestWriter, HalvesAreWidened) {
  EXPECT_EQ(numbers<std::uint16_t>(DataType::kFloat16, {9},
                                   {0x3C00, 0xC000, 0x0000, 0x8000, 0x7BFF, 0x0001, 0x03FF, 0x7C00, 0x7E00}),
            "[1.0,-2.0,0.0,-0.0,65504.0,5.9604645e-08,6.097555e-05,null,null]");
}

TEST_F(RestWriter, Strings) {
  EXPECT_EQ(text(DataType::kString, "plain h\xc3\xa9"), "\"plain h\xc3\xa9\"");
  EXPECT_EQ(text(DataType::kString, ""), "\"\"");
  EXPECT_EQ(text(DataType::kString, std::string_view("\"\\/\n\r\t\x00\x1f\x7f", 9)),
            "\"\\\"\\\\/\\n\\r\\t\\u0000\\u001f\x7f\"");
  EXPECT_EQ(text(DataType::kString, "a\xff z\xc3"), "\"a\xEF\xBF\xBD z\xEF\xBF\xBD\"");
  const std::string large(100000, 'q');
  EXPECT_EQ(text(DataType::kString, large + "\"" + large), "\"" + large + "\\\"" + large + "\"");
}

TEST_F(RestWriter, Bytes) {
  EXPECT_EQ(text(DataType::kBytes, "foob"), "{\"b64\":\"Zm9vYg==\"}");
  EXPECT_EQ(text(DataType::kBytes, ""), "{\"b64\":\"\"}");
  const std::string json = text(DataType::kBytes, std::string(100000, 'a'));
  std::string expected;
  for (int i = 0; i < 33333; ++i) expected += "YWFh";
  EXPECT_EQ(json, "{\"b64\":\"" + expected + "YQ==\"}");
}

TEST_F(RestWriter, ZeroSize) {
  EXPECT_EQ(numbers<float>(DataType::kFloat32, {0}, {}), "[]");
  EXPECT_EQ(numbers<float>(DataType::kFloat32, {2, 0}, {}), "[[],[]]");
  EXPECT_EQ(numbers<float>(DataType::kFloat32, {2, 1, 0, 7}, {}), "[[[]],[[]]]");
  EXPECT_EQ(numbers<float>(DataType::kFloat32, {0, 1000000000}, {}), "[]");
}

// A worker may give any shape; its text is not in proportion to anything that came.
TEST_F(RestWriter, TooManyEmptyArraysAreRefusedBeforeTheyAreWritten) {
  constexpr std::int64_t kLargest = (std::int64_t{1} << 60U) - 1;
  for (const Shape& shape : {Shape({kLargest, 0}), Shape({1'000'000'000, 0}), Shape({3, 1 << 30, 0}),
                             Shape({1 << 20, 1 << 20, 0, 5}), Shape({(1 << 24) + 1, 0})}) {
    auto of = request("echo", 2);
    of->at(1, 0) = make_numbers<float>(world.arena.get(), DataType::kFloat32, {1}, {2.0F});
    of->at(1, 1) = make_tensor(world.arena.get(), DataType::kFloat32, shape, "");
    const std::string text = reply(*of);
    EXPECT_TRUE(text.starts_with("500 {\"error_msg\":\"instance 1, output 'y': the shape " + shape.text() + " has "))
        << text.substr(0, 300);
    EXPECT_NE(text.find("at most 16777216"), std::string::npos) << text.substr(0, 300);
  }
}

TEST_F(RestWriter, EmptyArraysOfAllInstancesTogetherAreLimited) {
  const TensorRef tensor = make_tensor(world.arena.get(), DataType::kFloat32, {1 << 20, 0}, "");
  auto of = request("echo", 17);
  for (std::uint32_t i = 0; i < 17; ++i) of->at(1, i) = tensor;
  EXPECT_TRUE(reply(*of).starts_with("500 {\"error_msg\":\"instance 16, output 'y': ")) << reply(*of).substr(0, 300);
}

TEST_F(RestWriter, WritingEndsAtTheLimit) {
  Payload payload;
  JsonWriter json(&payload, 100'000);
  json.tensor(make_tensor(world.arena.get(), DataType::kFloat32, {1 << 28, 0}, ""));
  json.flush();
  EXPECT_TRUE(json.full());
  EXPECT_LT(payload.size(), 150'000U);
}

TEST_F(RestWriter, SeveralOutputsAndInstances) {
  auto of = request("many", 2);
  for (std::uint32_t i = 0; i < 2; ++i) {
    of->at(1, i) = make_numbers<std::int32_t>(world.arena.get(), DataType::kInt32, {}, {static_cast<std::int32_t>(i)});
    of->at(2, i) = make_tensor(world.arena.get(), DataType::kString, {}, "s");
    of->at(3, i) = make_numbers<float>(world.arena.get(), DataType::kFloat32, {1}, {2.0F});
  }
  EXPECT_EQ(reply(*of), "200 {\"instances\":[{\"a\":0,\"b\":\"s\",\"c\":[2.0]},{\"a\":1,\"b\":\"s\",\"c\":[2.0]}]}");
}

TEST_F(RestWriter, Errors) {
  auto of = request("echo", 2);
  of->at(1, 0) = make_numbers<std::int32_t>(world.arena.get(), DataType::kInt32, {}, {7});
  of->errors[1] = Status::Internal("went \"wrong\"\xff");
  EXPECT_EQ(reply(*of), "200 {\"instances\":[{\"y\":7},{\"error_msg\":\"went \\\"wrong\\\"\xEF\xBF\xBD\"}]}");
  of->errors[0] = of->errors[1];
  EXPECT_EQ(reply(*of), "500 {\"error_msg\":\"went \\\"wrong\\\"\xEF\xBF\xBD\"}");
  of->errors[0] = Status::InvalidArgument("other");
  EXPECT_EQ(reply(*of),
            "500 {\"instances\":[{\"error_msg\":\"other\"},{\"error_msg\":\"went \\\"wrong\\\"\xEF\xBF\xBD\"}]}");
  of->failure = Status::Unavailable("no worker");
  EXPECT_EQ(reply(*of), "503 {\"error_msg\":\"no worker\"}");
  Payload payload;
  EXPECT_EQ(write_rest_failure(Status::ResourceExhausted("too many"), &payload), 429);
  EXPECT_EQ(payload_text(&payload), "{\"error_msg\":\"too many\"}");
}

TEST_F(RestWriter, ArraysOfTexts) {
  std::string array;
  for (const std::string_view element : {"a", "", "b\"", "h\xc3\xa9"}) append_text(element, &array);
  const auto written = [&](DataType dtype, const Shape& shape) {
    return value(make_tensor(world.arena.get(), dtype, shape, array));
  };
  EXPECT_EQ(written(DataType::kString, {4}), "[\"a\",\"\",\"b\\\"\",\"h\xc3\xa9\"]");
  EXPECT_EQ(written(DataType::kString, {2, 1, 2}), "[[[\"a\",\"\"]],[[\"b\\\"\",\"h\xc3\xa9\"]]]");
  EXPECT_EQ(written(DataType::kBytes, {4}),
            "[{\"b64\":\"YQ==\"},{\"b64\":\"\"},{\"b64\":\"YiI=\"},{\"b64\":\"aMOp\"}]");
  EXPECT_EQ(value(make_tensor(world.arena.get(), DataType::kString, {2, 0}, "")), "[[],[]]");
}

// A worker may still write to what it has sent.
TEST_F(RestWriter, ArraysOfTextsThatAreNotWhole) {
  const auto written = [&](const Shape& shape, std::string_view bytes) {
    return value(make_tensor(world.arena.get(), DataType::kString, shape, bytes));
  };
  EXPECT_EQ(written({2}, std::string_view("\1\0\0\0a\xff\xff\xff\xff", 9)), "[\"a\",null]");
  EXPECT_EQ(written({3}, std::string_view("\1\0\0\0a", 5)), "null") << "the lengths alone have 12 bytes";
}

// 5000 instances that share one tensor of 1 MB.
TEST_F(RestWriter, AReplyOfMoreThan4GiBIsRefusedBeforeItIsWritten) {
  const std::string bytes(1'000'000, 'x');
  for (const DataType dtype : {DataType::kBytes, DataType::kString, DataType::kInt8}) {
    const Shape shape = is_text(dtype) ? Shape() : Shape{1'000'000};
    const TensorRef tensor = make_tensor(world.arena.get(), dtype, shape, bytes);
    auto of = request("echo", 5000);
    for (std::uint32_t i = 0; i < 5000; ++i) of->at(1, i) = tensor;
    const std::string text = reply(*of);
    EXPECT_TRUE(text.starts_with("500 {\"error_msg\":\"the reply would be longer than 4294967295 bytes")) << text;
  }
}

TEST_F(RestWriter, AReplyOfMoreThan4GiBOfTextsIsRefusedBeforeItIsWritten) {
  std::string array;
  for (int i = 0; i < 1000; ++i) append_text(std::string(1000, 'x'), &array);
  const TensorRef tensor = make_tensor(world.arena.get(), DataType::kString, {1000}, array);
  auto of = request("echo", 5000);
  for (std::uint32_t i = 0; i < 5000; ++i) of->at(1, i) = tensor;
  EXPECT_TRUE(reply(*of).starts_with("500 {\"error_msg\":\"the reply would be longer than 4294967295 bytes"));
}

}  // namespace
}  // namespace servoir::seed
