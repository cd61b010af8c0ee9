// What passes between a client and the streams of its connection, and what becomes of clients that speak no HTTP/2.
#include "http2_fixture.h"

namespace servoir::http {
namespace {

TEST_F(Http2ConnectionTest, AnswersWithHeaderBodyAndTrailers) {
  start();
  GrpcClient client(connect_http2());
  const std::int32_t stream = client.start("/echo", "hello", {{"x-mine", "mine"}});
  const GrpcReply& reply = client.wait(stream);
  EXPECT_EQ(reply.reset, 0U);
  EXPECT_EQ(reply.headers.at(":status"), "200");
  EXPECT_EQ(reply.headers.at("x-mine"), "mine");
  EXPECT_EQ(reply.data, "hello");
  EXPECT_EQ(reply.trailers.at("x-trailer"), "the end");
}

TEST_F(Http2ConnectionTest, AHeaderMayBeTheWholeAnswer) {
  start();
  GrpcClient client(connect_http2());
  const GrpcReply& reply = client.wait(client.start("/alone", "ignored"));
  EXPECT_EQ(reply.headers.at(":status"), "200");
  EXPECT_EQ(reply.data, "");
  EXPECT_TRUE(reply.trailers.empty());
}

TEST_F(Http2ConnectionTest, PassesLargeBodiesBothWays) {
  start();
  GrpcClient client(connect_http2());
  std::string large(9U << 20U, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 7 + i / 1000);
  const GrpcReply& reply = client.wait(client.start("/echo", large));
  EXPECT_EQ(reply.reset, 0U);
  EXPECT_EQ(reply.data.size(), large.size());
  EXPECT_TRUE(reply.data == large);
}

TEST_F(Http2ConnectionTest, CountsTheBytesOfAHeader) {
  start();
  GrpcClient client(connect_http2());
  // Too many, but few enough to be told in words: the stream learns how many, and goes on.
  const GrpcReply told = client.wait(client.start("/told", "", {{"x-mine", std::string(20'000, 'm')}}));
  EXPECT_EQ(told.reset, 0U);
  EXPECT_GT(std::stoul(told.headers.at("x-large")), 20'000U);
  EXPECT_LT(std::stoul(told.headers.at("x-large")), 21'000U);
  EXPECT_EQ(told.headers.at("x-mine"), "") << "fields after the limit are not shown";
  EXPECT_EQ(client.wait(client.start("/echo", "still there")).data, "still there");
}

TEST_F(Http2ConnectionTest, ResetsAStreamWhoseHeaderIsMuchTooLarge) {
  start();
  GrpcClient client(connect_http2());
  GrpcClient::Headers many;
  for (int i = 0; i < 20; ++i) many.emplace_back("x-" + std::to_string(i), std::string(5000, 'm'));
  const GrpcReply reset = client.wait(client.start("/reset", "", many));
  EXPECT_EQ(reset.reset, 11U) << "ENHANCE_YOUR_CALM";
  EXPECT_EQ(client.wait(client.start("/echo", "still there")).data, "still there");
}

TEST_F(Http2ConnectionTest, AClientWhoseAnswerIsCompleteNeedNotGoOnSending) {
  start();
  GrpcClient client(connect_http2());
  const std::int32_t stream = client.start("/early", "the beginning", {}, true);
  const GrpcReply& reply = client.wait(stream);
  EXPECT_EQ(reply.data, "already answered");
  EXPECT_EQ(reply.reset, 0U) << "a reset without an error";
}

TEST_F(Http2ConnectionTest, TellsHttp1WhatThePortIsFor) {
  start();
  PlainClient client = connect_http2();
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string got = client.receive_until_end();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 400 Bad Request\r\n")) << got;
  EXPECT_TRUE(got.ends_with("\r\n\r\nthis port speaks HTTP/2")) << got;
}

TEST_F(Http2ConnectionTest, EndsWhatDoesNotGetToHttp2AndLetsOthersBeSilent) {
  start({std::chrono::milliseconds(100), 10});
  GrpcClient silent(connect_http2());
  EXPECT_EQ(silent.wait(silent.start("/echo", "once")).data, "once");
  PlainClient mute = connect_http2();
  silent.run_until([&] { return set_->size() == 1; });
  EXPECT_EQ(mute.receive_until_end(), "");
  silent.run_until([&] { return sweeps() > 12; });
  EXPECT_FALSE(silent.ended());
  EXPECT_EQ(silent.wait(silent.start("/echo", "again")).data, "again");
}

}  // namespace
}  // namespace servoir::http
