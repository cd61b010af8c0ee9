#include "base/text.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

TEST(Text, Quoted) {
  EXPECT_EQ(quoted("name"), "'name'");
  EXPECT_EQ(quoted(""), "''");
}

TEST(Text, CutUtf8) {
  EXPECT_EQ(cut_utf8("abc", 3), "abc");
  EXPECT_EQ(cut_utf8("abcd", 3), "abc");
  EXPECT_EQ(cut_utf8("", 0), "");
  const std::string two_bytes =
      "a\xC3\xA4"
      "b";
  EXPECT_EQ(cut_utf8(two_bytes, 2), "a");
  EXPECT_EQ(cut_utf8(two_bytes, 3), "a\xC3\xA4");
  const std::string four_bytes = "\xF0\x9F\x98\x80";
  for (std::size_t most = 0; most < 4; ++most) EXPECT_EQ(cut_utf8(four_bytes, most), "");
  EXPECT_EQ(cut_utf8(four_bytes, 4), four_bytes);
  // Bytes that are no UTF-8 are no reason to go on for ever.
  EXPECT_EQ(cut_utf8("\x80\x80\x80", 2), "");
}

TEST(Text, CutUtf8Front) {
  EXPECT_EQ(cut_utf8_front("abc", 3), "abc");
  EXPECT_EQ(cut_utf8_front("abcd", 3), "bcd");
  EXPECT_EQ(cut_utf8_front("", 0), "");
  const std::string two_bytes = "a\xC3\xA4z";
  EXPECT_EQ(cut_utf8_front(two_bytes, 2), "z");
  EXPECT_EQ(cut_utf8_front(two_bytes, 3), "\xC3\xA4z");
  EXPECT_EQ(cut_utf8_front("\x80\x80\x80", 2), "");
}

}  // namespace
}  // namespace servoir
