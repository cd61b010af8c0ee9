// Texts and bytes in a PredictRequest: single values, and arrays of them.

#include <gtest/gtest.h>

#include "protocol/seed/predict_reader.h"
#include "seed/predict_fixture.h"

namespace servoir::seed {
namespace {

using namespace messages;  // NOLINT(google-build-using-namespace)

class PredictTexts : public PredictReader {};

TEST_F(PredictTexts, StringsAndBytes) {
  EXPECT_EQ(accept(text({}, 13, {"h\xc3\xa9"})), "echo 3 | x=str[]:68c3a9");
  EXPECT_EQ(accept(text({1}, 14, {std::string("\xff\x00", 2)})), "echo 3 | x=bytes[]:ff00");
  EXPECT_EQ(accept(text({}, 14, {""})), "echo 3 | x=bytes[]:");
  EXPECT_EQ(accept(text({}, 13, {""})), "echo 3 | x=str[]:");
  EXPECT_NE(tensor_error(text({}, 13, {"\xff"})).find("UTF-8"), std::string::npos);
  EXPECT_NE(tensor_error(text({}, 13, {"a", "b"})).find("2 bytes_val"), std::string::npos);
  EXPECT_NE(tensor_error(text({}, 14, {})).find("0 bytes_val"), std::string::npos);
  EXPECT_NE(tensor_error(text({2}, 14, {"a"})).find("[2]"), std::string::npos);
  (void)tensor_error(text({0}, 14, {"a"}));
  (void)tensor_error(text({}, 14, {"a"}) + field(3, "a"));
  // Large: the stream copies them straight to their place, and must still look at the whole of a string.
  std::string large(200000, 'a');
  EXPECT_TRUE(accept(text({}, 13, {large})).starts_with("echo 3 | x=str[]:6161"));
  large[150000] = '\xc3';
  EXPECT_NE(tensor_error(text({}, 13, {large})).find("UTF-8"), std::string::npos);
  EXPECT_TRUE(accept(text({}, 14, {large})).starts_with("echo 3 | x=bytes[]:6161"));
  (void)tensor_error(text({}, 14, {large, large}));
  (void)tensor_error(text({}, 14, {"a", large}));
  (void)tensor_error(text({2}, 14, {large}));
}

TEST_F(PredictTexts, ArraysOfTexts) {
  EXPECT_EQ(accept(text({3}, 13, {"a", "", "h\xc3\xa9"})), "echo 3 | x=str[3]:0100000061000000000300000068c3a9");
  EXPECT_EQ(accept(text({2, 1}, 14, {"\xff", "b"})), "echo 3 | x=bytes[2, 1]:01000000ff0100000062");
  EXPECT_EQ(accept(text({1, 1}, 14, {"a"})), "echo 3 | x=bytes[1, 1]:0100000061");
  EXPECT_EQ(accept(text({0}, 13, {})), "echo 3 | x=str[0]:");
  EXPECT_EQ(accept(text({2, 0}, 14, {})), "echo 3 | x=bytes[2, 0]:");
  EXPECT_EQ(accept(text({0, 2}, 13, {})), "echo 3 | x=str[0, 2]:");
  EXPECT_EQ(accept(text({2}, 14, {"a"}) + text({}, 14, {"b"})).substr(0, 22), "echo 3 | x=bytes[2]:01")
      << "Tensors in one entry merge";
  // Large ones are not copied to their place as they come, since their elements do not lie there as they do here.
  const std::string large(200000, 'a');
  EXPECT_TRUE(accept(text({2}, 13, {large, "b"})).starts_with("echo 3 | x=str[2]:400d03006161"));
  EXPECT_TRUE(accept(text({2}, 14, {"b", large})).starts_with("echo 3 | x=bytes[2]:0100000062400d03006161"));
  EXPECT_TRUE(accept(text({1, 1}, 14, {large})).starts_with("echo 3 | x=bytes[1, 1]:400d03006161"));
  const std::vector<std::string> many(100000, "ab");
  EXPECT_TRUE(accept(text({1000, 100}, 13, many)).starts_with("echo 3 | x=str[1000, 100]:020000006162020000006162"));
}

TEST_F(PredictTexts, BadArraysOfTexts) {
  EXPECT_NE(tensor_error(text({3}, 13, {"a", "b"})).find("for each of its 3 elements and no data; 2 bytes_val"),
            std::string::npos);
  EXPECT_NE(tensor_error(text({2}, 13, {"a", "\xff"})).find("element 1 of the array of str is not valid UTF-8"),
            std::string::npos);
  EXPECT_NE(tensor_error(text({1LL << 40, 1LL << 40}, 13, {"a"})).find("63 bits"), std::string::npos);
  EXPECT_NE(tensor_error(text({1LL << 40, 0}, 13, {})).find("at most 1048576"), std::string::npos);
  (void)tensor_error(text({2}, 13, {"a", "b"}) + field(3, "a"));
}

}  // namespace
}  // namespace servoir::seed
