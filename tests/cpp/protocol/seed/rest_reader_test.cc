#include "protocol/seed/rest_reader.h"

#include <gtest/gtest.h>

#include <vector>

#include "protocol_world.h"

namespace servoir::seed {
namespace {

class RestReader : public ::testing::Test {
 protected:
  Result<std::shared_ptr<Request>> read_to(const RestTarget& target, std::string_view body) {
    // Exactly the padding that is promised, so that a sanitizer sees reads beyond it; its values do not matter.
    std::vector<char> padded(body.begin(), body.end());
    padded.insert(padded.end(), kJsonPadding, '7');
    return read_rest_request(target, {padded.data(), body.size()}, world.scheduler.get(), world.slabs.get());
  }
  std::string read(std::string_view body, const std::string& method = "echo") {
    return result_text(read_to({"add", 0, method}, body));
  }
  // What the value becomes: "float32[2]:…", or "error: …".
  std::string value(const std::string& json) {
    const std::string text = read("{\"instances\": [{\"x\": " + json + "}]}");
    constexpr std::string_view kGood = "echo 3 | x=";
    if (text.starts_with(kGood)) return text.substr(kGood.size());
    EXPECT_TRUE(text.starts_with("3: instance 0, input 'x': ")) << text;
    return "error: " + text.substr(26);
  }
  // The same of an input of the method "typed".
  std::string typed(const std::string& input, const std::string& json) {
    std::string body = "{\"instances\": [{";
    for (const char* other : {"b", "u", "h", "i", "d", "f"}) {
      if (input != other) body += "\"" + std::string(other) + "\": {\"b64\": \"\"}, ";
    }
    const std::string text = read(body + "\"" + input + "\": " + json + "}]}", "typed");
    const std::size_t at = text.find(" " + input + "=");
    if (at == std::string::npos) return text;
    return text.substr(at + 3, text.find(' ', text.find(':', at)) - at - 3);
  }
  void expect_error(const std::string& json, std::string_view part) {
    const std::string text = value(json);
    EXPECT_TRUE(text.starts_with("error: ")) << json << " gives " << text;
    EXPECT_NE(text.find(part), std::string::npos) << json << " gives " << text;
  }

  ProtocolWorld world;
};

TEST_F(RestReader, Scalars) {
  EXPECT_EQ(value("1"), "int32[]:01000000");
  EXPECT_EQ(value("-2147483648"), "int32[]:00000080");
  EXPECT_EQ(value("2147483647"), "int32[]:ffffff7f");
  EXPECT_EQ(value("1.0"), "float32[]:0000803f");
  EXPECT_EQ(value("1e0"), "float32[]:0000803f");
  EXPECT_EQ(value("-0.0"), "float32[]:00000080");
  EXPECT_EQ(value("1e39"), "float32[]:0000807f");
  EXPECT_EQ(value("true"), "bool[]:01");
  EXPECT_EQ(value("false"), "bool[]:00");
  EXPECT_EQ(value("\"h\xc3\xa9\\u00e9\\n\""), "str[]:68c3a9c3a90a");
  EXPECT_EQ(value("\"\""), "str[]:");
}

TEST_F(RestReader, IntegersBeyondInt32) {
  for (const char* json : {"2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "[1, 2147483648]",
                           "[18446744073709551615]"}) {
    expect_error(json, "int32");
  }
  EXPECT_TRUE(
      read("{\"instances\": [{\"x\": 123456789012345678901234567890}]}").starts_with("3: the body is not JSON"));
}

TEST_F(RestReader, Arrays) {
  EXPECT_EQ(value("[1, 2]"), "int32[2]:0100000002000000");
  EXPECT_EQ(value("[[1], [2]]"), "int32[2, 1]:0100000002000000");
  EXPECT_EQ(value("[[1.5, -1.0]]"), "float32[1, 2]:0000c03f000080bf");
  EXPECT_EQ(value("[[true, false], [false, true]]"), "bool[2, 2]:01000001");
  EXPECT_EQ(value("[[[[[[[[3]]]]]]]]"), "int32[1, 1, 1, 1, 1, 1, 1, 1]:03000000");
  expect_error("[[[[[[[[[3]]]]]]]]]", "deeper");
  expect_error(std::string(900, '[') + "1" + std::string(900, ']'), "deeper");
}

TEST_F(RestReader, DeepNestingIsNoJson) {
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_TRUE(read("{\"instances\": [{\"x\": " + deep + "}]}").starts_with("3: the body is not JSON"));
  EXPECT_TRUE(read("{\"other\": " + deep + ", \"instances\": [{\"x\": 1}]}").starts_with("3: the body is not JSON"));
}

TEST_F(RestReader, MixedArrays) {
  EXPECT_EQ(value("[1, 1.5]"), "float32[2]:0000803f0000c03f");
  EXPECT_EQ(value("[1.5, 1]"), "float32[2]:0000c03f0000803f");
  EXPECT_EQ(value("[[1], [1.5]]"), "float32[2, 1]:0000803f0000c03f");
  expect_error("[1.5, 16777217]", "16777217 at [1] does not fit float32");
  expect_error("[true, 1]", "the number 1 at [1] does not fit bool");
  expect_error("[1, true]", "a bool");
  expect_error("[1, \"a\"]", "a string");
  expect_error("[1, null]", "null");
  expect_error("[1, {}]", "an object");
  expect_error("[1, [1]]", "an array");
}

TEST_F(RestReader, NumbersAreTakenForTheTypeOfTheirInput) {
  EXPECT_EQ(typed("b", "[0, 1, true, 1.0]"), "bool[4]:00010101");
  EXPECT_EQ(typed("u", "[0, 255, 7.0]"), "uint8[3]:00ff07");
  EXPECT_EQ(typed("h", "[1, 0.5]"), "float16[2]:003c0038");
  EXPECT_EQ(typed("i", "[9007199254740993, 1.0]"), "int64[2]:01000000000020000100000000000000");
  EXPECT_EQ(typed("d", "[1, 0.1]"), "float64[2]:000000000000f03f9a9999999999b93f");
  EXPECT_EQ(typed("f", "[[1, 2.5, 3, 4]]"), "float32[1, 4]:0000803f000020400000404000008040");
  EXPECT_EQ(typed("i", "7"), "int64[]:0700000000000000");
  EXPECT_EQ(typed("i", "[]"), "int64[0]:");
  EXPECT_EQ(typed("f", "[]"), "float32[0, 4]:");
  EXPECT_EQ(typed("f", "[[], []]"), "float32[2, 0]:");
  EXPECT_EQ(typed("u", "\"text\""), "str[]:74657874");
  EXPECT_EQ(typed("u", "[1, 256]"), "3: instance 0, input 'u': the number 256 at [1] does not fit uint8");
  EXPECT_EQ(typed("i", "[[1], [0.5]]"), "3: instance 0, input 'i': the number 0.5 at [1, 0] does not fit int64");
  EXPECT_EQ(typed("f", "[[1, true]]"), "3: instance 0, input 'f': a bool at [0, 1] is no float32");
}

TEST_F(RestReader, ArraysWithoutAType) {
  for (const char* json : {"[[1], []]", "[[], [1]]", "[null]", "[[null]]", "null"}) {
    EXPECT_TRUE(value(json).starts_with("error: ")) << json;
  }
  EXPECT_EQ(value("[]"), "float32[0]:");
  EXPECT_EQ(value("[[], []]"), "float32[2, 0]:");
}

TEST_F(RestReader, RaggedArrays) {
  for (const char* json : {"[[1], [1, 2]]", "[[1, 2], [1]]", "[[1], 1]", "[[[1], [1]], [[1]]]", "[[1], [[1]]]",
                           "[[1, 2], 3, 4]", "[[1], null]", "[[1], \"a\"]"}) {
    expect_error(json, json[1] == '[' && json[2] == '1' && std::string_view(json) == "[[1], [[1]]]" ? "" : "ragged");
  }
  // The first row promises far more than the body can hold.
  std::string json = "[[1";
  for (int i = 0; i < 100000; ++i) json += ",1";
  json += "]";
  for (int i = 0; i < 100000; ++i) json += ",1";
  expect_error(json + "]", "ragged");
}

TEST_F(RestReader, StringsInArrays) {
  EXPECT_EQ(value("[\"a\"]"), "str[]:61");
  EXPECT_EQ(value("[[\"a\"]]"), "str[1, 1]:0100000061");
  EXPECT_EQ(value("[\"a\", \"\", \"bc\"]"), "str[3]:010000006100000000020000006263");
  EXPECT_EQ(value("[[\"a\", \"b\"], [\"c\", {\"b64\": \"ZA==\", \"type\": \"str\"}]]"),
            "str[2, 2]:01000000610100000062010000006301000000"
            "64");
  EXPECT_EQ(value("[{\"b64\": \"Zm9v\"}, {\"b64\": \"\", \"shape\": [1]}]"), "bytes[2]:03000000666f6f00000000");
  EXPECT_EQ(value("[[{\"b64\": \"Zm9v\"}]]"), "bytes[1, 1]:03000000666f6f");
}

TEST_F(RestReader, BadStringsInArrays) {
  expect_error("[[\"a\", \"b\"], [\"c\"]]", "ragged");
  expect_error("[\"a\", [\"b\"]]", "an array of texts has an array");
  expect_error("[\"a\", 1]", "an array of texts has an integer; all must be strings or base64 objects");
  expect_error("[\"a\", null]", "an array of texts has null");
  expect_error("[1, \"a\"]", "a string at [1] is no int32");
  expect_error("[\"a\", {\"b64\": \"Zm9v\"}]", "the array's first element is str, another is bytes");
  expect_error("[\"a\", {\"b64\": \"/w==\", \"type\": \"str\"}]", "element 1 of the array of str is not valid UTF-8");
  expect_error("[{\"b64\": \"Zm9v\"}, {\"b64\": \"Zm9*\"}]", "position 3");
  expect_error("[{\"b64\": \"Zm9v\"}, {\"b64\": \"Zg==\", \"type\": \"int8\"}]", "only str and bytes");
  expect_error("[{\"b64\": \"Zm9v\"}, {}]", "without \"b64\"");
}

TEST_F(RestReader, Base64) {
  EXPECT_EQ(value("{\"b64\": \"Zm9v\"}"), "bytes[]:666f6f");
  EXPECT_EQ(value("{\"b64\": \"\"}"), "bytes[]:");
  EXPECT_EQ(value("{\"b64\": \"Zm9v\", \"type\": \"str\"}"), "str[]:666f6f");
  EXPECT_EQ(value("{\"type\": \"uint8\", \"shape\": [3], \"b64\": \"Zm9v\"}"), "uint8[3]:666f6f");
  EXPECT_EQ(value("{\"type\": \"uint8\", \"shape\": [3, 1], \"b64\": \"Zm9v\"}"), "uint8[3, 1]:666f6f");
  EXPECT_EQ(value("{\"type\": \"int32\", \"b64\": \"AQAAAA==\"}"), "int32[]:01000000");
  EXPECT_EQ(value("{\"type\": \"fp16\", \"b64\": \"ADw=\"}"), "float16[]:003c");
  EXPECT_EQ(value("{\"type\": \"float32\", \"shape\": [0], \"b64\": \"\"}"), "float32[0]:");
  EXPECT_EQ(value("{\"type\": \"float32\", \"shape\": [2, 0], \"b64\": \"\"}"), "float32[2, 0]:");
  EXPECT_EQ(value("{\"type\": \"float32\", \"shape\": [1, 0, 4], \"b64\": \"\"}"), "float32[1, 0, 4]:");
  EXPECT_EQ(value("{\"type\": \"bytes\", \"shape\": [1], \"b64\": \"Zm9v\"}"), "bytes[]:666f6f");
  EXPECT_EQ(value("[{\"b64\": \"Zm9v\"}]"), "bytes[]:666f6f");
  EXPECT_EQ(value("[{\"b64\": \"Zm9v\", \"type\": \"str\"}]"), "str[]:666f6f");
  for (const char* type : {"int8", "uint8", "bool", "int16", "uint16", "float16", "fp16", "int32", "uint32", "float32",
                           "fp32", "int64", "uint64", "float64", "fp64"}) {
    const std::string text = std::string(type).find("64") != std::string::npos   ? "AAAAAAAAAAA="
                             : std::string(type).find("32") != std::string::npos ? "AAAAAA=="
                             : std::string(type).find("16") != std::string::npos ? "AAA="
                                                                                 : "AA==";
    const std::string got = value("{\"type\": \"" + std::string(type) + "\", \"b64\": \"" + text + "\"}");
    EXPECT_NE(got.find("[]:00"), std::string::npos) << type << " gives " << got;
  }
}

TEST_F(RestReader, RowsWithoutElementsAreLimitedInARequest) {
  const auto poison = [](const std::string& rows) {
    return "{\"x\":{\"b64\":\"\",\"type\":\"float32\",\"shape\":[" + rows + ",0]}}";
  };
  for (const char* rows : {"1152921504606846975", "1048578", "1024,1025"}) {
    const std::string error = read("{\"instances\":[" + poison(rows) + "]}");
    EXPECT_NE(error.find("instance 0, input 'x'"), std::string::npos) << error;
    EXPECT_NE(error.find("at most 1048576"), std::string::npos) << error;
  }
  const std::string half = poison("524288");
  EXPECT_EQ(read("{\"instances\":[" + half + "," + half + "]}"),
            "echo 3 | x=float32[524288, 0]: | x=float32[524288, 0]:");
  EXPECT_NE(read("{\"instances\":[" + half + "," + half + "," + half + "]}").find("instance 2, input 'x'"),
            std::string::npos);
}

TEST_F(RestReader, BadBase64Objects) {
  expect_error("{}", "without \"b64\"");
  expect_error("{\"type\": \"int8\"}", "without \"b64\"");
  expect_error("{\"b64\": \"Zm9v\", \"x\": 1}", "key \"x\"");
  expect_error("{\"b64\": 1}", "expected a string");
  expect_error("{\"b64\": null}", "expected a string");
  for (const char* type : {"1", "\"\"", "\"Int8\"", "\"string\"", "\"float\"", "null", "\"float8\""}) {
    expect_error("{\"b64\": \"Zm9v\", \"type\": " + std::string(type) + "}", "\"type\" is");
  }
  for (const char* shape : {"[-1]", "[1.1]", "[\"abc\"]", "[[]]", "[null]", "3", "\"abc\"", "null", "{}",
                            "[18446744073709551615]", "[true]", "[1,1,1,1,1,1,1,1,1]"}) {
    expect_error("{\"b64\": \"Zm9v\", \"type\": \"uint8\", \"shape\": " + std::string(shape) + "}", "\"shape\"");
  }
  expect_error("{\"b64\": \"\", \"type\": \"int8\"}", "takes 1 bytes, 0 came");
  expect_error("{\"b64\": \"Zm9v\", \"type\": \"int8\", \"shape\": [4]}", "takes 4 bytes, 3 came");
  expect_error("{\"b64\": \"Zm9v\", \"type\": \"int8\", \"shape\": [9223372036854775807, 9223372036854775807]}",
               "63 bits");
  expect_error("{\"b64\": \"Zm9v\", \"shape\": [3]}", "for one bytes value");
  expect_error("{\"b64\": \"Zm9v\", \"type\": \"str\", \"shape\": [0]}", "for one str value");
  expect_error("{\"b64\": \"Zm9\"}", "multiple of 4");
  expect_error("{\"b64\": \"Zm9*\"}", "position 3");
  expect_error("{\"b64\": \"Zm9v\\n\"}", "multiple of 4");
  expect_error("{\"b64\": \"/////w==\", \"type\": \"str\"}", "UTF-8");
  expect_error("[{\"b64\": \"Zm9v\", \"type\": \"uint8\", \"shape\": [3]}]", "only str and bytes");
}

TEST_F(RestReader, Instances) {
  EXPECT_EQ(read("{\"instances\": [{\"x\": 1}, {\"x\": 2}]}"), "echo 3 | x=int32[]:01000000 | x=int32[]:02000000");
  EXPECT_EQ(read(" {\"a\": [1, {}], \"instances\": {\"x\": 1}, \"z\": null} \n"), "echo 3 | x=int32[]:01000000");
  EXPECT_EQ(read("{\"instances\": [{\"x2\": [1], \"x1\": \"a\"}]}", "add"), "add 3 | x1=str[]:61 x2=int32[1]:01000000");
  EXPECT_EQ(read("{\"instances\": [{\"x\": 1, \"extra\": [[], null]}]}"), "echo 3 | x=int32[]:01000000");
  EXPECT_EQ(read("{\"instances\": [{\"x\": 1, \"x\": 2}]}"), "echo 3 | x=int32[]:02000000");
  std::string many = "{\"instances\": [";
  for (int i = 0; i < 1000; ++i) many += std::string(i == 0 ? "" : ",") + "{\"x\": [" + std::to_string(i) + ".5]}";
  const auto request = read_to({"add", 0, "echo"}, many + "]}");
  ASSERT_TRUE(request.ok());
  ASSERT_EQ((*request)->instances, 1000U);
  for (std::uint32_t i = 0; i < 1000; ++i) {
    float value = 0;
    std::memcpy(&value, (*request)->at(0, i).data(), sizeof(value));
    EXPECT_EQ(value, static_cast<float>(i) + 0.5F);
    if (i > 0) {
      EXPECT_EQ((*request)->at(0, i).offset, (*request)->at(0, i - 1).offset + 4);
    }
  }
}

TEST_F(RestReader, BadBodies) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", "empty"},
      {" \n", "empty"},
      {"x", "not JSON"},
      {"{\"instances\": [{\"x\": 1}]", "not JSON"},
      {"{\"instances\": [{\"x\": 1}]} x", "not JSON"},
      {"{\"instances\": [{\"x\": 1}], \"y\": nonsense}", "not JSON"},
      {"{\"instances\": [{\"x\": 01}]}", "not JSON"},
      {"{\"instances\": [{\"x\": NaN}]}", "not JSON: it has NaN at instances[0].x;"},
      {"{\"instances\": [{\"x\": 18446744073709551616}]}", "beyond 64 bits"},
      {"{\"instances\": [{\"x\": 1e400}]}", "beyond float64"},
      {"\xff\xfe\x00", "not JSON"},
      {"{\"instances\": [{\"x\": \"\xff\"}]}", "not JSON"},
      {"[]", "expected an object"},
      {"1", "expected an object"},
      {"{}", "no \"instances\""},
      {"{\"Instances\": []}", "no \"instances\""},
      {"{\"instances\": []}", "no instances"},
      {"{\"instances\": {}}", "lacks input 'x'"},
      {"{\"instances\": [{}]}", "lacks input 'x'"},
      {"{\"instances\": 1}", "expected an array of instances"},
      {"{\"instances\": null}", "expected an array of instances"},
      {"{\"instances\": \"x\"}", "expected an array of instances"},
      {"{\"instances\": [1]}", "instance 0 is an integer"},
      {"{\"instances\": [[{\"x\": 1}]]}", "instance 0 is an array"},
      {"{\"instances\": [{\"x\": 1}, 2]}", "instance 1 is an integer"},
      {"{\"instances\": [{\"x\": 1}, {\"y\": 1}]}", "instance 1 lacks input 'x'"},
      {"{\"instances\": [{\"\": 1, \"x\": 1}]}", "empty name"},
  };
  for (const auto& [body, part] : table) {
    const std::string text = read(body);
    EXPECT_TRUE(text.starts_with("3: ")) << body << " gives " << text;
    EXPECT_NE(text.find(part), std::string::npos) << body << " gives " << text;
  }
}

TEST_F(RestReader, UnknownNames) {
  const std::string body = "{\"instances\": [{\"x\": 1}]}";
  EXPECT_EQ(result_text(read_to({"nobody", 0, "echo"}, body)).substr(0, 2), "5:");
  EXPECT_EQ(result_text(read_to({"add", 2, "echo"}, body)).substr(0, 2), "5:");
  EXPECT_EQ(result_text(read_to({"add", 0, "echo?x=1"}, body)).substr(0, 2), "5:");
}

TEST_F(RestReader, JsonIsCheckedBeforeThePath) {
  const std::string good = "{\"instances\": [{\"x\": 1}]}" + std::string(kJsonPadding, ' ');
  const std::string_view body = std::string_view(good).substr(0, good.size() - kJsonPadding);
  const auto read_path = [&](std::string_view path, std::string_view text) {
    return result_text(read_rest_request(path, text, world.scheduler.get(), world.slabs.get()));
  };
  EXPECT_EQ(read_path("/model/add/version/1:echo", body), "echo 1 | x=int32[]:01000000");
  EXPECT_TRUE(read_path("/nonsense", body).starts_with("5: the path '/nonsense'"));
  EXPECT_TRUE(read_path("/nonsense", body.substr(1)).starts_with("3: the body is not JSON"));
}

TEST_F(RestReader, LargeBodiesUseAParserOfTheirOwn) {
  std::string body = "{\"instances\": [{\"x\": [0.5";
  while (body.size() < 6000000) body += ",0.5,-0.25";
  body += "]}]}";
  const auto request = read_to({"add", 0, "echo"}, body);
  ASSERT_TRUE(request.ok()) << request.status().message();
  const TensorRef& x = (*request)->at(0, 0);
  EXPECT_EQ(x.bytes, static_cast<std::uint64_t>(x.shape.dims[0]) * 4);
  EXPECT_GT(x.bytes, 4000000U);
  float last = 0;
  std::memcpy(&last, x.data() + x.bytes - 4, 4);
  EXPECT_EQ(last, -0.25F);
  EXPECT_EQ(read("{\"instances\": [{\"x\": 1}]}"), "echo 3 | x=int32[]:01000000");
}

TEST_F(RestReader, ArrayOfMoreElementsThanTheTapeCounts) {
  std::string body = "{\"instances\": [{\"x\": [1";
  constexpr std::int64_t kElements = (1 << 24) + 5;
  body.reserve(kElements * 2 + 100);
  for (std::int64_t i = 1; i < kElements; ++i) body += ",1";
  body += "]}]}";
  const auto request = read_to({"add", 0, "echo"}, body);
  ASSERT_TRUE(request.ok()) << request.status().message();
  EXPECT_EQ((*request)->at(0, 0).shape, Shape({kElements}));
}

}  // namespace
}  // namespace servoir::seed
