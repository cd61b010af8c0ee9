#include "http/reason_phrase.h"

#include <gtest/gtest.h>

#include <string>

namespace servoir::http {
namespace {

TEST(ReasonPhraseTest, HasATextForEveryStatus) {
  EXPECT_EQ(reason_phrase(200), "OK");
  EXPECT_EQ(reason_phrase(404), "Not Found");
  EXPECT_EQ(reason_phrase(413), "Content Too Large");
  EXPECT_EQ(reason_phrase(504), "Gateway Timeout");
  for (int status = 200; status < 600; ++status) {
    const std::string_view text = reason_phrase(status);
    ASSERT_FALSE(text.empty()) << status;
    EXPECT_EQ(text.find_first_of("\r\n"), std::string_view::npos) << status;
  }
}

TEST(ReasonPhraseTest, ACodeWithoutATextGetsThatOfItsClass) {
  EXPECT_EQ(reason_phrase(299), "OK");
  EXPECT_EQ(reason_phrase(399), "Redirection");
  EXPECT_EQ(reason_phrase(499 - 1), "Client Error");
  EXPECT_EQ(reason_phrase(599), "Server Error");
}

TEST(ReasonPhraseTest, TheDateIsInTheFormOfHttp) {
  const std::string date(date_now());
  ASSERT_EQ(date.size(), std::string("Sun, 06 Nov 1994 08:49:37 GMT").size()) << date;
  EXPECT_EQ(date.substr(3, 2), ", ");
  EXPECT_EQ(date.substr(25), " GMT");
  EXPECT_EQ(date[19], ':');
  EXPECT_EQ(date[22], ':');
  EXPECT_GE(std::stoi(date.substr(12, 4)), 2024);
}

}  // namespace
}  // namespace servoir::http
