#include "protocol/base64.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "protocol_world.h"

namespace servoir {
namespace {

std::string encode(std::string_view bytes) {
  std::string out(base64_encoded_bytes(bytes.size()), '\0');
  base64_encode(as_bytes(bytes), out.data());
  return out;
}

Result<std::string> decode(std::string_view text) {
  SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t bytes, base64_decoded_bytes(text));
  std::string out(bytes, '\0');
  SERVOIR_RETURN_IF_ERROR(base64_decode(text, reinterpret_cast<std::byte*>(out.data())));
  return out;
}

TEST(Base64, VectorsOfTheRfc) {
  const std::vector<std::pair<std::string, std::string>> vectors = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"},
                                                                    {"\xfb\xff\xbf", "+/+/"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(encode(bytes), text);
    const auto decoded = decode(text);
    ASSERT_TRUE(decoded.ok()) << text;
    EXPECT_EQ(*decoded, bytes);
  }
}

TEST(Base64, RoundTripOfEveryLength) {
  std::mt19937 random(7);
  for (std::size_t length = 0; length < 300; ++length) {
    std::string bytes(length, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const auto decoded = decode(encode(bytes));
    ASSERT_TRUE(decoded.ok()) << decoded.status().message();
    EXPECT_EQ(*decoded, bytes);
  }
}

TEST(Base64, EveryIllegalByteAtEveryPlaceIsRefusedAndNamed) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int c = 0; c < 256; ++c) {
    if (alphabet.find(static_cast<char>(c)) != std::string::npos) continue;
    for (std::size_t at = 0; at < 8; ++at) {
      if (c == '=' && at == 7) continue;  // padding
      std::string text = "AAAAAAAA";
      text[at] = static_cast<char>(c);
      const auto decoded = decode(text);
      ASSERT_FALSE(decoded.ok()) << c << " at " << at;
      EXPECT_EQ(decoded.status().code(), Code::kInvalidArgument);
      EXPECT_NE(decoded.status().message().find("position " + std::to_string(at)), std::string_view::npos)
          << decoded.status().message();
    }
  }
}

TEST(Base64, LengthAndPadding) {
  for (const char* text : {"A", "AA", "AAA", "AAAAA", "AA=", "Zg=\n"}) EXPECT_FALSE(decode(text).ok()) << text;
  for (const char* text : {"====", "A===", "=AAA", "AA=A", "Zg==Zg==", "Zm8=Zm8="}) {
    EXPECT_FALSE(decode(text).ok()) << text;
  }
  EXPECT_NE(decode("AAAAA").status().message().find("5 characters"), std::string_view::npos);
}

}  // namespace
}  // namespace servoir
