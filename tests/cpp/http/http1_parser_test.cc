#include "http/http1_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace servoir::http {
namespace {

using Step = Http1Parser::Step;

// Feeds `text` in pieces of `piece` bytes, keeping what was not used, until the parser has a request or fails.
struct Fed {
  Step step = Step::kMore;
  std::string left;
  bool head_seen = false;
};
Fed feed(Http1Parser* parser, const std::string& text, std::size_t piece = std::string::npos) {
  Fed fed;
  std::size_t next = 0;
  while (true) {
    std::size_t used = 0;
    fed.step = parser->read(std::as_bytes(std::span(fed.left)), &used);
    fed.left.erase(0, used);
    if (fed.step == Step::kHead) {
      fed.head_seen = true;
      continue;
    }
    if (fed.step != Step::kMore || next >= text.size()) {
      if (next < text.size()) fed.left += text.substr(next);
      return fed;
    }
    fed.left += text.substr(next, piece);
    next += std::min(piece, text.size() - next);
  }
}

class PieceTest : public testing::TestWithParam<std::size_t> {};

TEST_P(PieceTest, ReadsABodyOfKnownLength) {
  Http1Parser parser(1000, 64);
  const Fed fed =
      feed(&parser, "POST /model/a:b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloPOST", GetParam());
  ASSERT_EQ(fed.step, Step::kDone);
  EXPECT_TRUE(fed.head_seen);
  EXPECT_EQ(parser.method(), "POST");
  EXPECT_EQ(parser.target(), "/model/a:b");
  EXPECT_EQ(parser.body(), "hello");
  EXPECT_TRUE(parser.keep_alive());
  EXPECT_FALSE(parser.is_http_1_0());
  EXPECT_FALSE(parser.expects_continue());
  EXPECT_EQ(fed.left, "POST");
}

TEST_P(PieceTest, ReadsChunks) {
  Http1Parser parser(1000, 64);
  const Fed fed = feed(&parser,
                       "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nGET",
                       GetParam());
  ASSERT_EQ(fed.step, Step::kDone);
  EXPECT_EQ(parser.body(), "abc0123456789");
  EXPECT_EQ(fed.left, "GET");
}

TEST_P(PieceTest, ReadsOneRequestAfterTheOther) {
  Http1Parser parser(1000, 64);
  Fed fed = feed(&parser, "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nA\r\nPOST /2 HTTP/1.0\r\n\r\n",
                 GetParam());
  ASSERT_EQ(fed.step, Step::kDone);
  EXPECT_EQ(parser.body(), "A");
  EXPECT_EQ(parser.announced_bytes(), 1U);
  parser.reset();
  fed = feed(&parser, fed.left, GetParam());
  ASSERT_EQ(fed.step, Step::kDone);
  EXPECT_EQ(parser.target(), "/2");
  EXPECT_EQ(parser.announced_bytes(), 0U);
  EXPECT_EQ(parser.body(), "");
  EXPECT_TRUE(parser.is_http_1_0());
  EXPECT_FALSE(parser.keep_alive());
}

TEST_P(PieceTest, ThrowsATooLargeBodyAway) {
  Http1Parser parser(4, 64);
  const Fed fed = feed(&parser, "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", GetParam());
  ASSERT_EQ(fed.step, Step::kDone);
  EXPECT_TRUE(parser.is_too_large());
  EXPECT_EQ(parser.body(), "");
}

TEST_P(PieceTest, ThrowsTooLargeChunksAway) {
  Http1Parser parser(4, 64);
  const Fed fed =
      feed(&parser, "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
           GetParam());
  ASSERT_EQ(fed.step, Step::kDone);
  EXPECT_TRUE(parser.is_too_large());
}

INSTANTIATE_TEST_SUITE_P(Pieces, PieceTest, testing::Values(1, 2, 7, std::string::npos));

TEST(Http1ParserTest, KnowsATooLargeBodyByItsHead) {
  Http1Parser parser(4, 64);
  std::size_t used = 0;
  const std::string head = "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
  ASSERT_EQ(parser.read(std::as_bytes(std::span(head)), &used), Step::kHead);
  EXPECT_TRUE(parser.is_too_large());
  EXPECT_TRUE(parser.expects_continue());
}

TEST(Http1ParserTest, GrowsForManyChunks) {
  Http1Parser parser(1U << 20U, 64);
  std::string text = "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string body;
  for (int i = 0; i < 500; ++i) {
    const std::string chunk(100, static_cast<char>('a' + i % 26));
    text += "64\r\n" + chunk + "\r\n";
    body += chunk;
  }
  text += "0\r\n\r\n";
  const Fed fed = feed(&parser, text, 333);
  ASSERT_EQ(fed.step, Step::kDone);
  EXPECT_EQ(parser.body(), body);
}

TEST(Http1ParserTest, RefusesALongHeader) {
  Http1Parser parser(1000, 64);
  const Fed fed = feed(&parser, "POST / HTTP/1.1\r\nHost: x\r\nX: " + std::string(20000, 'x') + "\r\n\r\n", 1000);
  ASSERT_EQ(fed.step, Step::kFailed);
  EXPECT_EQ(parser.failure_status(), 431);
}

TEST(Http1ParserTest, RefusesALongChunkHead) {
  Http1Parser parser(1000, 64);
  const Fed fed = feed(
      &parser, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(40000, 'x') + "\r\nA",
      5000);
  EXPECT_EQ(fed.step, Step::kFailed);
}

TEST(Http1ParserTest, RefusesBodiesWhoseEndItCannotTell) {
  const std::vector<std::pair<std::string, int>> table = {
      {"Transfer-Encoding: gzip", 501},     {"Transfer-Encoding: gzip, chunked", 501},
      {"Transfer-Encoding: identity", 501}, {"Transfer-Encoding: chunked, chunked", 501},
      {"Transfer-Encoding:", 501},          {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400},
  };
  for (const auto& [head, status] : table) {
    Http1Parser parser(1000, 64);
    EXPECT_EQ(feed(&parser, "POST / HTTP/1.1\r\nHost: x\r\n" + head + "\r\n\r\n2\r\n{}\r\n0\r\n\r\n").step,
              Step::kFailed)
        << head;
    EXPECT_EQ(parser.failure_status(), status) << head;
  }
}

TEST(Http1ParserTest, RefusesCompressedBodies) {
  Http1Parser parser(1000, 64);
  EXPECT_EQ(feed(&parser, "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}").step,
            Step::kFailed);
  EXPECT_EQ(parser.failure_status(), 415);
  EXPECT_NE(parser.failure().message().find("'gzip'"), std::string_view::npos) << parser.failure().message();
  Http1Parser plain(1000, 64);
  EXPECT_EQ(
      feed(&plain, "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}").step,
      Step::kDone);
}

TEST(Http1ParserTest, RefusesWhatIsNoHttp) {
  for (const char* text : {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
                           "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "hello\r\n\r\n",
                           "POST / HTTP/3.1\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nA",
                           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nA",
                           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}) {
    Http1Parser parser(1000, 64);
    EXPECT_EQ(feed(&parser, text).step, Step::kFailed) << text;
    EXPECT_EQ(parser.failure_status(), 400) << text;
    EXPECT_FALSE(parser.failure().message().empty()) << text;
  }
}

}  // namespace
}  // namespace servoir::http
