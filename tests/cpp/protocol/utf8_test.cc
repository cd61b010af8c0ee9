#include "protocol/utf8.h"

#include <gtest/gtest.h>

#include <random>

namespace servoir {
namespace {

TEST(Utf8, ValidTextStaysAsItIs) {
  for (const std::string text : {"", "abc", "h\xc3\xa9", "\xE6\xA8\xA1", "\xF0\x9F\x98\x80", "\xED\x9F\xBF",
                                 "\xEE\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(text));
    EXPECT_EQ(to_utf8(text), text);
  }
}

TEST(Utf8, EachBadByteIsReplaced) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(to_utf8("\xff"), bad);
  EXPECT_EQ(to_utf8("a\x80z"), "a" + bad + "z");
  EXPECT_EQ(to_utf8("\xc3"), bad);
  EXPECT_EQ(to_utf8("\xc0\x80"), bad + bad);                      // overlong
  EXPECT_EQ(to_utf8("\xE0\x80\x80"), bad + bad + bad);            // overlong
  EXPECT_EQ(to_utf8("\xED\xA0\x80"), bad + bad + bad);            // a surrogate
  EXPECT_EQ(to_utf8("\xF4\x90\x80\x80"), bad + bad + bad + bad);  // beyond U+10FFFF
  EXPECT_EQ(to_utf8("\xE6\xA8x"), bad + bad + "x");
  EXPECT_EQ(to_utf8("\xF0\x9F\x98"), bad + bad + bad);
}

TEST(Utf8, WhateverComesOutIsValid) {
  std::mt19937 random(11);
  for (int round = 0; round < 20000; ++round) {
    std::string text(random() % 12, '\0');
    for (char& c : text) c = static_cast<char>(random() % 2 == 0 ? random() : 0xC0 + random() % 64);
    EXPECT_TRUE(is_utf8(to_utf8(text)));
  }
}

}  // namespace
}  // namespace servoir
