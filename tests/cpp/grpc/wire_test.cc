#include "grpc/wire.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <string>

namespace servoir::grpc {
namespace {

using std::chrono::nanoseconds;

TEST(GrpcTimeoutTest, KnowsEveryUnit) {
  EXPECT_EQ(parse_grpc_timeout("2H"), std::chrono::hours(2));
  EXPECT_EQ(parse_grpc_timeout("3M"), std::chrono::minutes(3));
  EXPECT_EQ(parse_grpc_timeout("4S"), std::chrono::seconds(4));
  EXPECT_EQ(parse_grpc_timeout("5m"), std::chrono::milliseconds(5));
  EXPECT_EQ(parse_grpc_timeout("6u"), std::chrono::microseconds(6));
  EXPECT_EQ(parse_grpc_timeout("7n"), nanoseconds(7));
  EXPECT_EQ(parse_grpc_timeout("00000000n"), nanoseconds(0));
}

TEST(GrpcTimeoutTest, CutsWhatTheClockCannotHold) {
  const auto longest = parse_grpc_timeout("99999999H");
  ASSERT_TRUE(longest);
  EXPECT_EQ(longest->count(), std::numeric_limits<std::int64_t>::max() / 2);
  EXPECT_EQ(parse_grpc_timeout("99999999S"), std::chrono::seconds(99999999));
}

TEST(GrpcTimeoutTest, RefusesOtherTexts) {
  for (const char* text : {"", "5", "S", "5s", "-5S", "5.5S", "123456789S", " 5S", "5S "}) {
    EXPECT_FALSE(parse_grpc_timeout(text)) << text;
  }
}

TEST(GrpcPrefixTest, IsReadAsItIsWritten) {
  for (const std::uint32_t bytes : {0U, 1U, 255U, 65536U, 0xFFFFFFFFU}) {
    std::array<char, kGrpcPrefixBytes> prefix{};
    write_grpc_prefix(bytes, prefix);
    std::array<std::byte, kGrpcPrefixBytes> read{};
    std::transform(prefix.begin(), prefix.end(), read.begin(), [](char c) { return static_cast<std::byte>(c); });
    const GrpcPrefix back = read_grpc_prefix(read);
    EXPECT_EQ(back.flag, 0);
    EXPECT_EQ(back.bytes, bytes);
  }
  const std::array<std::byte, kGrpcPrefixBytes> known = {std::byte{1}, std::byte{0x12}, std::byte{0x34},
                                                         std::byte{0x56}, std::byte{0x78}};
  EXPECT_EQ(read_grpc_prefix(known).flag, 1);
  EXPECT_EQ(read_grpc_prefix(known).bytes, 0x12345678U);
}

TEST(GrpcMessageTest, EncodesWhatHeadersCannotHold) {
  EXPECT_EQ(encode_grpc_message("plain text: 1, 2 ~"), "plain text: 1, 2 ~");
  EXPECT_EQ(encode_grpc_message("100%\n\xC3\xA4"), "100%25%0A%C3%A4");
}

TEST(GrpcMessageTest, CutsLongTextsBetweenCharacters) {
  std::string text(4095, 'a');
  text += "\xC3\xA4 and more";
  EXPECT_EQ(encode_grpc_message(text), std::string(4095, 'a'));
}

TEST(GrpcContentTypeTest, TakesProtobufOnly) {
  for (const char* text : {"application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"}) {
    EXPECT_TRUE(is_grpc_content_type(text)) << text;
  }
  for (const char* text : {"", "application/json", "application/grpc+json", "application/grpcx", "application/grp"}) {
    EXPECT_FALSE(is_grpc_content_type(text)) << text;
  }
}

}  // namespace
}  // namespace servoir::grpc
