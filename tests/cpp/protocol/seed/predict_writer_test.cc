// Replies are taken apart again with protozero, and compared with bytes that another implementation wrote.

#include "protocol/seed/predict_writer.h"

#include <gtest/gtest.h>

#include <protozero/pbf_reader.hpp>
#include <random>

#include "seed/predict_messages.h"
#include "tensor/text_array.h"

namespace servoir::seed {
namespace {

using namespace messages;  // NOLINT(google-build-using-namespace)

std::string tensor_text(protozero::pbf_reader tensor) {
  std::string text;
  while (tensor.next()) {
    if (tensor.tag() == 1) {
      protozero::pbf_reader dims = tensor.get_message();
      text += "[";
      while (dims.next(1)) {
        for (const std::int64_t dim : dims.get_packed_int64()) text += std::to_string(dim) + ",";
      }
      text += "]";
    } else if (tensor.tag() == 2) {
      text += " " + std::to_string(tensor.get_enum());
    } else {
      text += tensor.tag() == 3 ? " data=" : tensor.tag() == 4 ? " val=" : " ?";
      text += tensor.get_bytes();
    }
  }
  return text;
}

// "add/echo/3 {y: [2,] 11 data=…} error(2, text)"
std::string reply_text(const std::string& message) {
  std::string text;
  protozero::pbf_reader reply(message);
  while (reply.next()) {
    if (reply.tag() == 1) {
      protozero::pbf_reader spec = reply.get_message();
      while (spec.next()) text += (spec.tag() == 3 ? std::to_string(spec.get_uint64()) : spec.get_string() + "/");
    } else if (reply.tag() == 3) {
      text += " {";
      protozero::pbf_reader one = reply.get_message();
      while (one.next()) {
        EXPECT_EQ(one.tag(), 1U);
        protozero::pbf_reader entry = one.get_message();
        EXPECT_TRUE(entry.next(1));
        text += entry.get_string() + ": ";
        EXPECT_TRUE(entry.next(2));
        text += tensor_text(entry.get_message()) + ";";
        EXPECT_FALSE(entry.next());
      }
      text += "}";
    } else {
      EXPECT_EQ(reply.tag(), 4U);
      std::int64_t code = 0;
      std::string error;
      protozero::pbf_reader one = reply.get_message();
      while (one.next()) {
        if (one.tag() == 1) {
          code = one.get_int64();
        } else {
          error = one.get_bytes();
        }
      }
      text += " error(" + std::to_string(code) + ", " + error + ")";
    }
  }
  return text;
}

class PredictWriter : public ::testing::Test {
 protected:
  std::shared_ptr<Request> request(const std::string& method, std::uint32_t instances) {
    return make_request(ProtocolWorld::must(world.scheduler->find("add", 0, method)), instances);
  }
  static std::string reply(const Request& request) {
    Payload payload;
    write_predict_reply(request, &payload);
    const std::uint64_t size = payload.size();
    std::string bytes = payload_text(&payload);
    EXPECT_EQ(bytes.size(), size);
    return bytes;
  }
  TensorRef make(DataType dtype, const Shape& shape, std::string_view bytes) {
    return make_tensor(world.arena.get(), dtype, shape, bytes);
  }

  ProtocolWorld world;
};

TEST_F(PredictWriter, BytesOfAnotherImplementation) {
  // Google's protobuf for Python wrote this for the same values (method many; outputs a, b, c).
  auto of = request("many", 1);
  of->at(1, 0) = make(DataType::kInt8, {2, 100}, std::string(200, '\x07'));
  of->at(2, 0) = make(DataType::kString, {}, "ok");
  of->at(3, 0) = make(DataType::kFloat32, {}, numbers<float>({1.0F}));
  const std::string head(
      "\x0a\x0d\x0a\x03\x61\x64\x64\x12\x04\x6d\x61\x6e\x79\x18\x03\x1a\xfc\x01\x0a\xd9"
      "\x01\x0a\x01\x61\x12\xd3\x01\x0a\x04\x0a\x02\x02\x64\x10\x02\x1a\xc8\x01",
      38);
  const std::string tail(
      "\x0a\x0d\x0a\x01\x62\x12\x08\x0a\x00\x10\x0d\x22\x02\x6f\x6b\x0a\x0f\x0a\x01\x63"
      "\x12\x0a\x0a\x00\x10\x0b\x1a\x04\x00\x00\x80\x3f",
      32);
  EXPECT_EQ(reply(*of), head + std::string(200, '\x07') + tail);
}

TEST_F(PredictWriter, Values) {
  auto of = request("echo", 3);
  of->at(1, 0) = make(DataType::kUint8, {2, 1}, "ab");
  of->at(1, 1) = make(DataType::kBytes, {}, "xyz");
  of->at(1, 2) = make(DataType::kFloat32, {2, 0}, "");
  EXPECT_EQ(reply_text(reply(*of)), "add/echo/3 {y: [2,1,] 3 data=ab;} {y: [] 14 val=xyz;} {y: [2,0,] 11 data=;}");
}

TEST_F(PredictWriter, Bfloat16IsSentAsTheFloat32ThatItIs) {
  const auto request_of = [this](std::int64_t count) {
    auto of = request("echo", 1);
    of->at(1, 0) = make_numbers(world.arena.get(), DataType::kBfloat16, {count},
                                std::vector<std::uint16_t>(static_cast<std::size_t>(count), 0x3FC0));
    return of;
  };
  for (const std::int64_t count : {std::int64_t{2}, std::int64_t{20'000}}) {
    const std::vector<float> wide(static_cast<std::size_t>(count), 1.5F);
    EXPECT_TRUE(reply_text(reply(*request_of(count))) ==
                "add/echo/3 {y: [" + std::to_string(count) + ",] 11 data=" +
                    std::string(reinterpret_cast<const char*>(wide.data()), wide.size() * sizeof(float)) + ";}");
  }
}

TEST_F(PredictWriter, EmptyTextIsStillAValue) {
  auto of = request("echo", 1);
  of->at(1, 0) = make(DataType::kString, {}, "");
  EXPECT_EQ(reply_text(reply(*of)), "add/echo/3 {y: [] 13 val=;}");
}

TEST_F(PredictWriter, LargeTensorsAreReferencedNotCopied) {
  auto of = request("many", 2);
  const std::string large(Payload::kReferenceBytes, 'L');
  const std::string below(Payload::kReferenceBytes - 1, 'b');
  for (std::uint32_t i = 0; i < 2; ++i) {
    of->at(1, i) = make(DataType::kUint8, {static_cast<std::int64_t>(large.size())}, large);
    of->at(2, i) = make(DataType::kUint8, {static_cast<std::int64_t>(below.size())}, below);
    of->at(3, i) = make(DataType::kBytes, {}, large);
  }
  Payload payload;
  write_predict_reply(*of, &payload);
  const std::byte* const from = of->at(1, 0).data();
  bool referenced = false;
  std::string bytes;
  while (!payload.empty()) {
    BlockRef share;
    const std::string_view piece = payload.front(UINT64_MAX, &share);
    if (piece.data() == reinterpret_cast<const char*>(from)) {
      referenced = true;
      EXPECT_EQ(share, of->at(1, 0).block);
    }
    bytes += piece;
    payload.consume(piece.size());
  }
  EXPECT_TRUE(referenced);
  const std::string one =
      " {a: [8192,] 3 data=" + large + ";b: [8191,] 3 data=" + below + ";c: [] 14 val=" + large + ";}";
  EXPECT_TRUE(reply_text(bytes) == "add/many/3" + one + one);
}

TEST_F(PredictWriter, ManyInstances) {
  auto of = request("echo", 5000);
  std::string expected = "add/echo/3";
  for (std::uint32_t i = 0; i < 5000; ++i) {
    const std::string value(i % 200, static_cast<char>('a' + i % 26));
    of->at(1, i) = make(DataType::kBytes, {}, value);
    expected += " {y: [] 14 val=" + value + ";}";
  }
  EXPECT_TRUE(reply_text(reply(*of)) == expected);
}

TEST_F(PredictWriter, FailureOfTheRequest) {
  auto of = request("echo", 2);
  of->failure = Status::DeadlineExceeded("too late");
  EXPECT_EQ(reply_text(reply(*of)), "add/echo/3 error(1, too late)");
}

TEST_F(PredictWriter, SomeInstancesFailed) {
  auto of = request("echo", 3);
  of->at(1, 0) = make(DataType::kUint8, {1}, "a");
  of->at(1, 2) = make(DataType::kUint8, {1}, "c");
  of->errors[1] = Status::InvalidArgument("bad shape");
  EXPECT_EQ(reply_text(reply(*of)),
            "add/echo/3 {y: [1,] 3 data=a;} {} {y: [1,] 3 data=c;} error(0, ) error(2, bad shape) error(0, )");
}

TEST_F(PredictWriter, ErrorsOfAllInstancesAlikeAreFolded) {
  auto of = request("echo", 2);
  of->errors[0] = of->errors[1] = Status::Internal("boom");
  EXPECT_EQ(reply_text(reply(*of)), "add/echo/3 error(1, boom)");
  of->errors[1] = Status::Internal("other boom");
  EXPECT_EQ(reply_text(reply(*of)), "add/echo/3 {} {} error(1, boom) error(1, other boom)");
  of->errors[1] = Status::InvalidArgument("boom");
  EXPECT_EQ(reply_text(reply(*of)), "add/echo/3 {} {} error(1, boom) error(2, boom)");
}

TEST_F(PredictWriter, FailureBeforeThereIsARequest) {
  for (int number = 1; number <= 15; ++number) {
    Payload payload;
    write_predict_failure("s", 0, "m", Status(static_cast<Code>(number), "text \xff"), &payload);
    const std::string text = reply_text(payload_text(&payload));
    EXPECT_TRUE(text.starts_with("s/m/ error(")) << text;
    EXPECT_FALSE(text.starts_with("s/m/ error(0")) << text;
    EXPECT_TRUE(text.ends_with(", text \xEF\xBF\xBD)")) << text;
  }
  Payload payload;
  write_predict_failure("", 0, "", Status::NotFound("who?"), &payload);
  EXPECT_EQ(reply_text(payload_text(&payload)), " error(5, who?)");
}

TEST_F(PredictWriter, ReplyIsARequestAgain) {
  // Field 3 is renamed to 2 by the test, so that our own reader reads what our writer wrote.
  auto of = request("add", 2);
  std::mt19937 random(3);
  for (std::uint32_t i = 0; i < 2; ++i) {
    std::vector<float> values(1 + random() % 5000);
    for (float& value : values) value = static_cast<float>(random());
    of->at(2, i) =
        make_numbers(world.arena.get(), DataType::kFloat32, {static_cast<std::int64_t>(values.size())}, values);
  }
  std::string as_request;
  const std::string written = reply(*of);
  protozero::pbf_reader fields(written);
  while (fields.next()) {
    const bool is_spec = fields.tag() == 1;  // protozero's reader forgets the tag once the field is read, if it asserts
    std::string body = fields.get_bytes();
    if (is_spec) {
      body = spec("echo");
    } else {
      const std::size_t key = body.find('y');
      body[key] = 'x';
    }
    as_request += field(is_spec ? 1 : 2, body);
  }
  const auto again = read_whole(&world, as_request);
  ASSERT_TRUE(again.ok()) << again.status().message();
  for (std::uint32_t i = 0; i < 2; ++i) {
    const TensorRef& a = of->at(2, i);
    const TensorRef& b = (*again)->at(0, i);
    ASSERT_EQ(a.bytes, b.bytes);
    EXPECT_EQ(a.shape, b.shape);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.bytes), 0);
  }
}

TEST_F(PredictWriter, AnArrayOfTextsHasABytesValForEachElement) {
  const std::string large(Payload::kReferenceBytes, 'l');
  std::string array;
  for (const std::string_view element : {std::string_view("a"), std::string_view(), std::string_view(large)}) {
    append_text(element, &array);
  }
  auto of = request("many", 1);
  of->at(1, 0) = make(DataType::kString, {3}, array);
  of->at(2, 0) = make(DataType::kBytes, {3, 1}, array);
  of->at(3, 0) = make(DataType::kBytes, {0}, "");
  Payload payload;
  write_predict_reply(*of, &payload);
  EXPECT_EQ(reply_text(payload_text(&payload)), "add/many/3 {a: [3,] 13 val=a val= val=" + large +
                                                    ";b: [3,1,] 14 val=a val= val=" + large + ";c: [0,] 14;}");
}

// A worker may still write to what it has sent.
TEST_F(PredictWriter, AnArrayOfTextsThatIsNotWhole) {
  auto of = request("echo", 1);
  of->at(1, 0) = make(DataType::kString, {2}, std::string_view("\1\0\0\0a\xff\xff\xff\xff", 9));
  Payload payload;
  write_predict_reply(*of, &payload);
  EXPECT_EQ(reply_text(payload_text(&payload)), "add/echo/3 {y: [2,] 13 val=a;}");
}

}  // namespace
}  // namespace servoir::seed
