// What a Server refuses over gRPC, and clients that misbehave: the others are served as if nothing were.

#include <stdlib.h>

#include <string>
#include <vector>

#include "server_fixture.h"

namespace servoir {
namespace {

class GrpcRefusalsTest : public ServerTest {};

TEST_F(GrpcRefusalsTest, RefusesAMessageOverTheLimitAndGoesOn) {
  start();
  GrpcClient client(listen(Protocol::kGrpc, 1U << 20U));
  gate_.hold();
  const std::int32_t other = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  const std::vector<float> x(5'000'000);
  const std::int32_t large = client.start(kPredict, GrpcClient::framed(predict_request({x})));
  const GrpcReply& refused = client.wait(large);
  EXPECT_EQ(refused.status(), 8);
  EXPECT_NE(refused.text().find("received message larger than max ("), std::string::npos) << refused.text();
  EXPECT_NE(refused.text().find(" vs. 1048576)"), std::string::npos) << refused.text();
  EXPECT_NE(refused.text().find("max_msg_mb_size"), std::string::npos) << refused.text();
  EXPECT_TRUE(refused.data.empty());
  gate_.open();
  EXPECT_EQ(client.wait(other).status(), 0);
  // More than the connection's window in all: what was thrown away has been given back to it.
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(client.wait(client.start(kPredict, GrpcClient::framed(predict_request({x})))).status(), 8);
  }
  EXPECT_EQ(client.call(kPredict, predict_request({std::vector<float>(200'000, 1.0F)})).status(), 0);
}

TEST_F(GrpcRefusalsTest, AcceptsExactlyTheLimit) {
  start();
  std::string message = predict_request({{1, 2, 3}});
  message += pb_bytes(15, std::string(500 - message.size() - 3, ' '));  // a field that nobody knows
  ASSERT_EQ(message.size(), 500U);
  GrpcClient client(listen(Protocol::kGrpc, message.size()));
  EXPECT_EQ(client.call(kPredict, message).status(), 0);
  EXPECT_EQ(client.call(kPredict, message + pb_number(14, 1)).status(), 8);
}

TEST_F(GrpcRefusalsTest, RefusesAReplyOverTheLimit) {
  start();
  const std::string message = predict_request({{1, 2, 3}});
  GrpcClient probe(listen(Protocol::kGrpc));
  const std::size_t reply_bytes = probe.call(kPredict, message).message().size();
  ASSERT_GT(reply_bytes, message.size());
  GrpcClient client(listen(Protocol::kGrpc, message.size()));
  const GrpcReply reply = client.call(kPredict, message);
  EXPECT_EQ(reply.status(), 8);
  EXPECT_NE(reply.text().find("the reply is larger than max (" + std::to_string(reply_bytes)), std::string::npos)
      << reply.text();
}

TEST_F(GrpcRefusalsTest, ChecksTheCallsHead) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  const std::string message = predict_request({{1}});

  const GrpcReply unknown = client.call("/no.Service/Method", message);
  EXPECT_EQ(unknown.status(), 12);
  EXPECT_NE(unknown.text().find("/no.Service/Method"), std::string::npos);

  const GrpcReply get = client.call(kPredict, message, {{":method", "GET"}});
  EXPECT_EQ(get.headers.at(":status"), "405");

  const GrpcReply json = client.call(kPredict, message, {{"content-type", "application/json"}});
  EXPECT_EQ(json.headers.at(":status"), "415");

  const GrpcReply timeout = client.call(kPredict, message, {{"grpc-timeout", "soon"}});
  EXPECT_EQ(timeout.status(), 13);

  GrpcClient::Headers many;
  for (int i = 0; i < 20; ++i) many.emplace_back("x-" + std::to_string(i), std::string(1000, 'v'));
  EXPECT_EQ(client.call(kPredict, message, many).status(), 8);

  EXPECT_EQ(client.call(kPredict, message, {{"content-type", "application/grpc+proto"}}).status(), 0);
}

TEST_F(GrpcRefusalsTest, ChecksTheFraming) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  const std::string message = predict_request({{1}});

  const GrpcReply& gzip =
      client.wait(client.start(kPredict, GrpcClient::framed(message, 1), {{"grpc-encoding", "gzip"}}));
  EXPECT_EQ(gzip.status(), 12);
  EXPECT_EQ(gzip.headers.at("grpc-accept-encoding"), "identity");
  EXPECT_EQ(client.wait(client.start(kPredict, GrpcClient::framed(message, 1))).status(), 13);
  EXPECT_EQ(client.wait(client.start(kPredict, GrpcClient::framed(message, 7))).status(), 13);
  EXPECT_EQ(client.wait(client.start(kPredict, "")).status(), 13);
  EXPECT_EQ(client.wait(client.start(kPredict, std::string(2, '\0'))).status(), 13);
  EXPECT_EQ(client.wait(client.start(kPredict, GrpcClient::framed(message).substr(0, 20))).status(), 13);
  const std::string two = GrpcClient::framed(message) + GrpcClient::framed(message);
  EXPECT_EQ(client.wait(client.start(kPredict, two)).status(), 13);
  EXPECT_EQ(client.call(kPredict, message, {{"grpc-encoding", "identity"}}).status(), 0);
}

TEST_F(GrpcRefusalsTest, AClientThatLeavesTakesItsCallsAlong) {
  start({}, 1);
  const std::string address = listen(Protocol::kGrpc);
  gate_.hold();
  {
    GrpcClient client(address);
    for (int i = 0; i < 20; ++i) client.start(kPredict, GrpcClient::framed(predict_request({{2}})));
    client.run_until([&] { return server_->stats().total("servoir_requests") == 20; });
    const std::vector<float> x(1'000'000);
    client.start(kPredict, GrpcClient::framed(predict_request({x})).substr(0, 100'000), {}, true);
    client.socket().abort();
  }
  eventually([&] { return server_->stats().total("servoir_connections") == 0; }, "the connection is gone");
  gate_.open();
  GrpcClient other(address);
  EXPECT_EQ(other.call(kPredict, predict_request({{1}})).status(), 0);
  EXPECT_LE(adder_->rows(), 4U);
}

TEST_F(GrpcRefusalsTest, BoundsTheStreamsOfAConnection) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  gate_.hold();
  for (int i = 0; i < 1500; ++i) client.start(kPredict, GrpcClient::framed(predict_request({{2}})));
  client.run_until([&] { return server_->stats().total("servoir_requests") >= 1024; });
  client.ping();
  client.run_until([&] { return client.pings_answered() == 1; });
  EXPECT_EQ(server_->stats().total("servoir_requests"), 1024U);
  gate_.open();
  client.run_until([&] { return server_->stats().total("servoir_requests") == 1500; });
}

TEST_F(GrpcRefusalsTest, AReaderThatStopsHoldsUpNobodyElse) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient slow(address, 4096, false);  // its windows are never opened again
  const std::vector<float> x(500'000, 1.0F);
  std::vector<std::int32_t> streams;
  for (int i = 0; i < 8; ++i) streams.push_back(slow.start(kPredict, GrpcClient::framed(predict_request({x}))));
  slow.run_until([&] { return adder_->rows() == 8; });
  GrpcClient quick(address);
  for (int i = 0; i < 20; ++i) {
    const GrpcReply reply = quick.call(kPredict, predict_request({{3}}));
    ASSERT_EQ(predict_values(reply.message()), (std::vector<std::vector<float>>{{4}}));
  }
  // Its answers stay in the arena, and go with it.
  EXPECT_GT(server_->stats().total("servoir_arena_used_bytes"), 8U * 2'000'000U);
  slow.socket().abort();
  eventually([&] { return server_->stats().total("servoir_arena_used_bytes") < 4'000'000; }, "the answers are dropped");
}

TEST_F(GrpcRefusalsTest, EndsWithAClientThatNeverReads) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(100);  // its patience is 2 s, which a slow sender must not use up
  start(options);
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient slow(address, 4096, false);
  const std::vector<float> x(1'000'000, 1.0F);
  const std::int32_t stream = slow.start(kPredict, GrpcClient::framed(predict_request({x})));
  slow.run_until([&] { return slow.reply(stream).closed; });
  EXPECT_EQ(slow.reply(stream).reset, static_cast<std::uint32_t>(NGHTTP2_CANCEL)) << slow.reply(stream).text();
  eventually([&] { return server_->stats().total("servoir_arena_used_bytes") < 5'000'000; }, "its answer is dropped");
}

// Once in two milliseconds, however fast the machine is.
class NowAndThen {
 public:
  [[nodiscard]] bool and_then() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return false;
    next_ = now + std::chrono::milliseconds(2);
    return true;
  }

 private:
  std::chrono::steady_clock::time_point next_{};
};

// One byte now and then is no progress: its answer takes memory that others wait for.
TEST_F(GrpcRefusalsTest, EndsACallWhoseAnswerIsReadTooSlowly) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(50);
  start(options);
  GrpcClient slow(listen(Protocol::kGrpc), 4096, false);
  const std::vector<float> x(1'000'000, 1.0F);
  const std::int32_t stream = slow.start(kPredict, GrpcClient::framed(predict_request({x})));
  slow.run_until([&] { return slow.reply(stream).data.size() == 65535; });
  NowAndThen now;
  slow.run_until([&] {
    if (now.and_then()) slow.open_windows(stream, 1);
    return slow.reply(stream).closed;
  });
  EXPECT_EQ(slow.reply(stream).reset, static_cast<std::uint32_t>(NGHTTP2_CANCEL)) << slow.reply(stream).text();
  EXPECT_FALSE(slow.ended());
  EXPECT_GT(slow.reply(stream).data.size(), 65535U);
  EXPECT_LT(slow.reply(stream).data.size(), 131072U);
}

TEST_F(GrpcRefusalsTest, EndsACallWhoseMessageDoesNotGoOn) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(50);
  start(options);
  GrpcClient client(listen(Protocol::kGrpc));
  const std::int32_t stream =
      client.start(kPredict, GrpcClient::framed(predict_request({{1, 2, 3}})).substr(0, 20), {}, true);
  EXPECT_EQ(client.wait(stream).status(), 1);
  EXPECT_FALSE(client.ended());
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
}

// One byte now and then is no progress.
TEST_F(GrpcRefusalsTest, EndsACallWhoseMessageGoesOnTooSlowly) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(50);
  start(options);
  GrpcClient client(listen(Protocol::kGrpc));
  const std::string message = GrpcClient::framed(predict_request({std::vector<float>(1'000'000)}));
  const std::int32_t stream = client.start(kPredict, message.substr(0, 2000), {}, true);
  std::size_t sent = 2000;
  NowAndThen now;
  client.run_until([&] {
    if (now.and_then()) client.add(stream, message.substr(sent++, 1), false);
    return client.reply(stream).closed;
  });
  EXPECT_EQ(client.reply(stream).status(), 1);
  EXPECT_NE(client.reply(stream).text().find("does not go on"), std::string::npos) << client.reply(stream).text();
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
}

TEST_F(GrpcRefusalsTest, EndsConnectionsThatDoNotGetToHttp2) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(50);
  start(options);
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient idle(address);
  EXPECT_EQ(idle.call(kPredict, predict_request({{1}})).status(), 0);
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  for (const std::string& beginning : {std::string(), preface.substr(0, 10), preface}) {
    PlainClient silent(address);
    silent.send(beginning);
    eventually([&] { return server_->stats().total("servoir_connections") == 2; }, "the silent one is there");
    // One that has done so may stay, if it answers a PING.
    idle.run_until([&] { return server_->stats().total("servoir_connections") == 1; });
    (void)silent.receive_until_end();  // waits for the end
  }
  EXPECT_FALSE(idle.ended());
  EXPECT_EQ(idle.call(kPredict, predict_request({{1}})).status(), 0);
}

TEST_F(GrpcRefusalsTest, TellsAnHttp1ClientThatThisIsGrpc) {
  start();
  PlainClient client(listen(Protocol::kGrpc));
  client.send("POST /model/w1:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  const std::string answer = client.receive_until_end();
  EXPECT_NE(answer.find("HTTP/1.1 400"), std::string::npos) << answer;
  EXPECT_NE(answer.find("gRPC"), std::string::npos) << answer;
  const std::size_t body = answer.find("\r\n\r\n") + 4;
  EXPECT_NE(answer.find("Content-Length: " + std::to_string(answer.size() - body)), std::string::npos) << answer;
}

TEST_F(GrpcRefusalsTest, SurvivesNonsense) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  std::uint32_t seed = 1;
  for (int round = 0; round < 50; ++round) {
    PlainClient client(address);
    std::string bytes = round % 2 == 0 ? preface + std::string("\0\0\0\4\0\0\0\0\0", 9) : std::string();
    for (int i = 0; i < 500; ++i) {
      seed = seed * 1664525U + 1013904223U;
      bytes += static_cast<char>(seed >> 24U);
    }
    client.send(bytes);
    client.end();
    (void)client.receive_until_end();
  }
  GrpcClient client(address);
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
}

TEST_F(GrpcRefusalsTest, EndsWithAClientThatFloodsItWithPings) {
  start();
  PlainClient client(listen(Protocol::kGrpc), 4096);
  std::string flood = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string("\0\0\0\4\0\0\0\0\0", 9);
  for (int i = 0; i < 200'000; ++i) flood += std::string("\0\0\x08\6\0\0\0\0\0abcdefgh", 17);
  client.send(flood);  // and reads no answer; returns when the server has ended it
  eventually([&] { return server_->stats().total("servoir_connections") == 0; }, "the connection is ended");
}

TEST_F(GrpcRefusalsTest, EndsWithAClientThatResetsWithoutEnd) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  client.run_until([&] {
    for (int i = 0; i < 1000; ++i) client.reset(client.start(kPredict, "", {}, true));
    return client.ended() || client.going_away();
  });
  EXPECT_TRUE(client.ended() || client.going_away());
}

}  // namespace
}  // namespace servoir
