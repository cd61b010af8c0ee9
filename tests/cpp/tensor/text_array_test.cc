#include "tensor/text_array.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace servoir {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string refusal(const Shape& shape, std::string_view bytes) {
  const Status status = check_texts(shape, bytes_of(bytes));
  EXPECT_EQ(status.code(), Code::kInvalidArgument) << status.message();
  return std::string(status.message());
}

TEST(TextArray, IsReadAsItWasWritten) {
  const std::vector<std::string> elements = {"a", "", std::string("\0\xff", 2), std::string(70000, 'x')};
  std::string appended;
  for (const std::string& element : elements) append_text(element, &appended);
  std::vector<std::byte> put(appended.size());
  std::byte* to = put.data();
  for (const std::string& element : elements) to = put_text(element, to);
  EXPECT_EQ(to, put.data() + put.size());
  EXPECT_EQ(std::memcmp(put.data(), appended.data(), put.size()), 0);
  EXPECT_EQ(appended.substr(0, 9), std::string("\1\0\0\0a\0\0\0\0", 9));

  TextReader reader(put);
  std::string_view element;
  for (const std::string& expected : elements) {
    ASSERT_TRUE(reader.next(&element));
    EXPECT_EQ(element, expected);
  }
  EXPECT_FALSE(reader.next(&element));
  EXPECT_TRUE(reader.at_end());
}

TEST(TextArray, ReadingStopsAtWhatIsNotWhole) {
  for (const std::string_view bytes : {std::string_view("\1\0\0", 3), std::string_view("\2\0\0\0a", 5),
                                       std::string_view("\xff\xff\xff\xff"
                                                        "abc")}) {
    TextReader reader(bytes_of(bytes));
    std::string_view element;
    EXPECT_FALSE(reader.next(&element));
    EXPECT_FALSE(reader.at_end());
    EXPECT_EQ(reader.rest().size(), bytes.size());
  }
}

TEST(TextArray, HasAsManyElementsAsItsShape) {
  std::string array;
  for (const std::string_view element : {"a", "", "bcd", "e"}) append_text(element, &array);
  EXPECT_TRUE(check_texts({4}, bytes_of(array)).ok());
  EXPECT_TRUE(check_texts({2, 2}, bytes_of(array)).ok());
  EXPECT_TRUE(check_texts({0, 3}, {}).ok());
  EXPECT_TRUE(check_texts({}, bytes_of("anything")).ok());
  EXPECT_EQ(refusal({5}, array),
            "the array of shape [5] has 5 elements, but element 4 is not whole: 0 bytes are left "
            "for its length (4 bytes) and what that announces");
  EXPECT_EQ(refusal({3}, array), "the array of shape [3] has 3 elements, and 5 bytes come after them");
  EXPECT_NE(refusal({4}, array.substr(0, array.size() - 1)).find("element 3 is not whole: 4 bytes"), std::string::npos);
  EXPECT_NE(refusal({0}, "a").find("1 bytes come after"), std::string::npos);
  EXPECT_NE(refusal({INT64_MAX}, array).find("element 4 is not whole"), std::string::npos);
  EXPECT_NE(refusal({1LL << 40, 1LL << 40}, array).find("63 bits"), std::string::npos);
}

TEST(TextArray, TheNumberOfBytesTellsWhatCanBeNone) {
  EXPECT_TRUE(may_be_texts({}, 0));
  EXPECT_TRUE(may_be_texts({}, 7));
  EXPECT_TRUE(may_be_texts({2}, 8));
  EXPECT_TRUE(may_be_texts({2}, 9));
  EXPECT_FALSE(may_be_texts({2}, 7));
  EXPECT_TRUE(may_be_texts({2, 0}, 0));
  EXPECT_FALSE(may_be_texts({2, 0}, 1));
  EXPECT_FALSE(may_be_texts({1LL << 40, 1LL << 40}, UINT64_MAX));
  EXPECT_FALSE(may_be_texts({INT64_MAX}, UINT64_MAX));
}

}  // namespace
}  // namespace servoir
