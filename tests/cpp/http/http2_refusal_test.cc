// A client that speaks HTTP/2 to a port for HTTP/1.1, with an Http1Connection around the refusal.
#include "http/http2_refusal.h"

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/grpc_client.h"
#include "support/http1_fixture.h"

namespace servoir::http {
namespace {

using Http2RefusalTest = Http1ConnectionTest;

constexpr std::string_view kWhy = "this port speaks REST over HTTP/1.1, and the client speaks HTTP/2";

TEST(Http2Refusal, KnowsThePrefaceByItsFirstLine) {
  const auto is_for = [](std::string_view text) {
    return Http2Refusal::is_for(std::as_bytes(std::span(text.data(), text.size())));
  };
  EXPECT_TRUE(is_for("PRI * HTTP/2.0\r\n"));
  EXPECT_TRUE(is_for("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  for (const char* text : {"", "PRI * HTTP/2.0\r", "PRI * HTTP/2.0\n\n", "pri * http/2.0\r\n", "GET / HTTP/1.1\r\n"}) {
    EXPECT_FALSE(is_for(text)) << text;
  }
}

TEST_F(Http2RefusalTest, AnswersGrpcWithAStatusOfItsKindAndEnds) {
  serve("POST", "/a.B/Echo");
  start();
  GrpcClient client(connect_http());
  const std::int32_t stream = client.start("/a.B/Echo", GrpcClient::framed("x"));
  const GrpcReply& reply = client.wait(stream);
  EXPECT_EQ(reply.headers.at(":status"), "200");
  EXPECT_EQ(reply.headers.at("content-type"), "application/grpc");
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kUnimplemented));
  EXPECT_TRUE(reply.text().starts_with(kWhy)) << reply.text();
  client.run_until([&] { return client.ended(); });
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(client.going_away());
  EXPECT_TRUE(log_.empty()) << "no handler sees such a request";
}

// The call of a stream may never come to an end.
TEST_F(Http2RefusalTest, DoesNotWaitForTheEndOfAGrpcCall) {
  start();
  GrpcClient client(connect_http());
  const std::int32_t stream = client.start("/a.B/Talk", "", {}, true);
  client.run_until([&] { return client.reply(stream).status() != -1; });
  EXPECT_EQ(client.reply(stream).status(), static_cast<int>(Code::kUnimplemented));
}

TEST_F(Http2RefusalTest, AnswersOthersInTheFormOfTheirErrorsOnceTheirBodyHasEnded) {
  routes_.set_fallback("POST", "POST something", std::make_unique<Scripted>(), &errors_);
  start();
  GrpcClient client(connect_http());
  const std::int32_t stream = client.start("/v1/x", "beginning", {{"content-type", "application/json"}}, true);
  // What is read here comes before any answer to the request.
  client.ping();
  client.run_until([&, turns = 0]() mutable { return ++turns > 10; });
  EXPECT_TRUE(client.reply(stream).headers.empty()) << "many clients take an early answer for an error";
  client.add(stream, " and end", true);
  const GrpcReply& reply = client.wait(stream);
  EXPECT_EQ(reply.headers.at(":status"), "505");
  EXPECT_EQ(reply.headers.at("content-type"), "text/words");
  EXPECT_TRUE(reply.data.starts_with("error: " + std::string(kWhy))) << reply.data;
  client.run_until([&] { return client.ended(); });
  EXPECT_TRUE(client.ended());
}

TEST_F(Http2RefusalTest, AnswersAllRequestsThatHaveBegun) {
  start();
  GrpcClient client(connect_http());
  std::vector<std::int32_t> open;
  for (int i = 0; i < 10; ++i) {
    open.push_back(client.start("/v1/x", "body", {{"content-type", "application/json"}}, true));
  }
  for (const std::int32_t stream : open) client.add(stream, "", true);
  for (const std::int32_t stream : open) EXPECT_EQ(client.wait(stream).headers.at(":status"), "505") << stream;
}

TEST_F(Http2RefusalTest, EndsWhereNonsenseFollowsThePreface) {
  start();
  PlainClient client = connect_http();
  client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame of HTTP/2 at all");
  client.receive_until_end();
  client.close();
  eventually([&] { return connection_.expired(); }, "the end of the connection");
}

}  // namespace
}  // namespace servoir::http
