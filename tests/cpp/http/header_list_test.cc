#include "http/header_list.h"

#include <gtest/gtest.h>

namespace servoir::http {
namespace {

TEST(HeaderListTest, FindsTheFirstValueWhateverTheCase) {
  HeaderList headers;
  EXPECT_EQ(headers.find("a"), std::nullopt);
  headers.add("X-Mine", "first");
  headers.add("x-mine", "second");
  headers.add("Empty", "");
  headers.add("last", "x-none");
  EXPECT_EQ(headers.find("x-MINE"), "first");
  EXPECT_EQ(headers.find("empty"), "");
  EXPECT_EQ(headers.find("last"), "x-none");
  EXPECT_EQ(headers.find("x-none"), std::nullopt) << "a value is no name";
  EXPECT_EQ(headers.find("x-min"), std::nullopt);
  headers.clear();
  EXPECT_EQ(headers.find("last"), std::nullopt);
}

}  // namespace
}  // namespace servoir::http
