// The gRPC side of a Server, from the client's end of the socket.

#include <stdlib.h>

#include <string>
#include <vector>

#include "server_fixture.h"

namespace servoir {
namespace {

class GrpcServerTest : public ServerTest {};

TEST_F(GrpcServerTest, AnswersACall) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  const GrpcReply reply = client.call(kPredict, predict_request({{1, 2, 3}, {4, 5, 6}}));
  EXPECT_EQ(reply.status(), 0) << reply.text();
  EXPECT_EQ(reply.reset, 0U);
  EXPECT_EQ(reply.headers.at(":status"), "200");
  EXPECT_EQ(reply.headers.at("content-type"), "application/grpc");
  EXPECT_EQ(predict_values(reply.message()), (std::vector<std::vector<float>>{{2, 3, 4}, {5, 6, 7}}));
  EXPECT_EQ(pb_find(reply.message(), {1, 1}), std::vector<std::string>{"w1"});
}

TEST_F(GrpcServerTest, ServesAUnixSocket) {
  char name[] = "/tmp/servoir_server_XXXXXX";
  const std::string directory = ::mkdtemp(name);
  start();
  {
    GrpcClient client(listen(Protocol::kGrpc, 1U << 20U, "unix:" + directory + "/socket"));
    EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
  }
  ASSERT_TRUE(server_->close_listener(listener_).ok());
  EXPECT_EQ(::rmdir(directory.c_str()), 0);  // nothing is left in it
}

TEST_F(GrpcServerTest, AnswersManyCallsOnManyConnectionsOverSeveralThreads) {
  ServerOptions options;
  options.io_threads = 3;
  start(options);
  const std::string address = listen(Protocol::kGrpc);
  std::vector<std::unique_ptr<GrpcClient>> clients;
  for (int c = 0; c < 12; ++c) clients.push_back(std::make_unique<GrpcClient>(address));
  for (int round = 0; round < 5; ++round) {
    std::vector<std::vector<std::int32_t>> streams(clients.size());
    for (std::size_t c = 0; c < clients.size(); ++c) {
      for (int s = 0; s < 40; ++s) {
        const auto x = static_cast<float>(c) * 1000.0F + static_cast<float>(s);
        streams[c].push_back(clients[c]->start(kPredict, GrpcClient::framed(predict_request({{x, x + 0.5F}}))));
      }
    }
    for (std::size_t c = 0; c < clients.size(); ++c) {
      for (std::size_t s = 0; s < streams[c].size(); ++s) {
        const GrpcReply& reply = clients[c]->wait(streams[c][s]);
        const auto x = static_cast<float>(c) * 1000.0F + static_cast<float>(s);
        ASSERT_EQ(reply.status(), 0) << reply.text();
        ASSERT_EQ(predict_values(reply.message()), (std::vector<std::vector<float>>{{x + 1, x + 1.5F}}));
      }
    }
  }
  EXPECT_EQ(server_->stats().requests, 12U * 40U * 5U);
  EXPECT_EQ(server_->stats().connections, 12U);
}

TEST_F(GrpcServerTest, WhatComesTogetherIsBatchedTogether) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient client(address);
  gate_.hold();
  const std::int32_t first = client.start(kPredict, GrpcClient::framed(predict_request({{0}})));
  client.run_until([&] { return server_->stats().requests == 1; });
  gate_.wait_for_arrival(1);
  std::vector<std::int32_t> streams;
  for (int i = 0; i < 50; ++i) streams.push_back(client.start(kPredict, GrpcClient::framed(predict_request({{1}}))));
  client.run_until([&] { return server_->stats().requests == 51; });
  gate_.open();
  EXPECT_EQ(client.wait(first).status(), 0);
  for (const std::int32_t stream : streams) EXPECT_EQ(client.wait(stream).status(), 0);
  EXPECT_EQ(adder_->batches(), 2U);
}

TEST_F(GrpcServerTest, PassesLargeMessagesBothWays) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  std::vector<float> x(600'000);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 1000);
  std::vector<std::int32_t> streams;
  for (int i = 0; i < 4; ++i) {
    x[0] = static_cast<float>(i);
    streams.push_back(client.start(kPredict, GrpcClient::framed(predict_request({x}))));
  }
  for (int i = 0; i < 4; ++i) {
    const GrpcReply& reply = client.wait(streams[static_cast<std::size_t>(i)]);
    ASSERT_EQ(reply.status(), 0) << reply.text();
    const auto values = predict_values(reply.message());
    ASSERT_EQ(values.size(), 1U);
    ASSERT_EQ(values[0].size(), x.size());
    EXPECT_EQ(values[0][0], static_cast<float>(i) + 1);
    for (std::size_t k = 1; k < x.size(); ++k) ASSERT_EQ(values[0][k], x[k] + 1) << k;
  }
  eventually([&] { return server_->stats().arena.in_use < 10'000'000; }, "the arena's blocks are given back");
}

// Sizes around where messages start to be collected, and to be streamed.
TEST_F(GrpcServerTest, TakesMessagesInAnyPieces) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  for (const std::size_t count : {1U, 100U, 3990U, 4050U, 4100U, 20'000U}) {
    const std::vector<float> x(count, 1.5F);
    const std::string body = GrpcClient::framed(predict_request({x}));
    for (const std::size_t piece : {std::size_t{1}, std::size_t{3}, std::size_t{1000}}) {
      const std::size_t head = std::min<std::size_t>(body.size(), 40 * piece);
      const std::int32_t stream = client.start(kPredict, "", {}, true);
      for (std::size_t at = 0; at < head; at += piece)
        client.add(stream, body.substr(at, std::min(piece, head - at)), false);
      client.add(stream, body.substr(head), true);
      const GrpcReply& reply = client.wait(stream);
      ASSERT_EQ(reply.status(), 0) << reply.text();
      ASSERT_EQ(predict_values(reply.message()), std::vector<std::vector<float>>{std::vector<float>(count, 2.5F)});
    }
  }
}

// Tensors are received where they belong when the frames come as expected; this client's mostly do, but not always.
TEST_F(GrpcServerTest, ReceivesLargeMessagesInAnyFrames) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  std::vector<float> x(700'000);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  for (std::uint32_t round = 1; round <= 12; ++round) {
    client.send_irregularly(round);
    std::vector<std::int32_t> streams;
    std::vector<std::int32_t> cut;
    std::vector<std::int32_t> given_up;
    for (std::uint32_t s = 0; s <= round % 3; ++s) {
      const std::vector<float> head(x.begin(), x.begin() + 100'000 + 50'000 * static_cast<std::ptrdiff_t>(round));
      const std::string body = GrpcClient::framed(predict_request({head, head}));
      streams.push_back(client.start(kPredict, body));
      // Others that end or are given up in the middle of their tensor.
      cut.push_back(client.start(kPredict, body.substr(0, body.size() / 2 + 1000 * s)));
      given_up.push_back(client.start(kPredict, body));
    }
    for (const std::int32_t stream : cut) EXPECT_EQ(client.wait(stream).status(), 13);
    for (const std::int32_t stream : given_up) client.reset(stream);
    for (const std::int32_t stream : streams) {
      const GrpcReply& reply = client.wait(stream);
      ASSERT_EQ(reply.status(), 0) << reply.text();
      const auto values = predict_values(reply.message());
      ASSERT_EQ(values.size(), 2U);
      for (const std::vector<float>& row : values) {
        ASSERT_EQ(row.size(), 100'000U + 50'000U * round);
        for (std::size_t k = 0; k < row.size(); ++k) ASSERT_EQ(row[k], static_cast<float>(k) + 1) << k;
      }
    }
  }
}

TEST_F(GrpcServerTest, ErrorsOfTheApplicationAreInTheReply) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  const GrpcReply unknown = client.call(kPredict, predict_request({{1}}, "nobody"));
  EXPECT_EQ(unknown.status(), 0);
  ASSERT_EQ(predict_errors(unknown.message()).size(), 1U);
  EXPECT_NE(predict_errors(unknown.message())[0].find("nobody"), std::string::npos);

  const GrpcReply garbage = client.call(kPredict, "\xFF\xFF\xFF");
  EXPECT_EQ(garbage.status(), 0);
  EXPECT_EQ(predict_errors(garbage.message()).size(), 1U);

  // Found out in the middle of a large message: the answer does not wait for the rest.
  const std::vector<float> x(1'000'000);
  const std::int32_t stream =
      client.start(kPredict, GrpcClient::framed(predict_request({x}, "nobody")).substr(0, 100'000), {}, true);
  const GrpcReply& early = client.wait(stream);
  EXPECT_EQ(early.status(), 0);
  EXPECT_EQ(predict_errors(early.message()).size(), 1U);
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
}

TEST_F(GrpcServerTest, RefusesAMessageOverTheLimitAndGoesOn) {
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

TEST_F(GrpcServerTest, AcceptsExactlyTheLimit) {
  start();
  std::string message = predict_request({{1, 2, 3}});
  message += pb_bytes(15, std::string(500 - message.size() - 3, ' '));  // a field that nobody knows
  ASSERT_EQ(message.size(), 500U);
  GrpcClient client(listen(Protocol::kGrpc, message.size()));
  EXPECT_EQ(client.call(kPredict, message).status(), 0);
  EXPECT_EQ(client.call(kPredict, message + pb_number(14, 1)).status(), 8);
}

TEST_F(GrpcServerTest, RefusesAReplyOverTheLimit) {
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

TEST_F(GrpcServerTest, ChecksTheCallsHead) {
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

TEST_F(GrpcServerTest, ChecksTheFraming) {
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
  EXPECT_EQ(client.wait(client.start(kPredict, "\0\0")).status(), 13);
  EXPECT_EQ(client.wait(client.start(kPredict, GrpcClient::framed(message).substr(0, 20))).status(), 13);
  const std::string two = GrpcClient::framed(message) + GrpcClient::framed(message);
  EXPECT_EQ(client.wait(client.start(kPredict, two)).status(), 13);
  EXPECT_EQ(client.call(kPredict, message, {{"grpc-encoding", "identity"}}).status(), 0);
}

TEST_F(GrpcServerTest, KeepsDeadlines) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  gate_.hold();
  const std::int32_t running = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  const std::int32_t late =
      client.start(kPredict, GrpcClient::framed(predict_request({{2}})), {{"grpc-timeout", "20m"}});
  EXPECT_EQ(client.wait(late).status(), 4);
  gate_.open();
  EXPECT_EQ(client.wait(running).status(), 0);
  EXPECT_EQ(client.call(kPredict, predict_request({{1}}), {{"grpc-timeout", "1H"}}).status(), 0);
}

TEST_F(GrpcServerTest, ACancelledCallLeavesTheQueue) {
  start({}, 1);
  GrpcClient client(listen(Protocol::kGrpc));
  gate_.hold();
  const std::int32_t running = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  client.run_until([&] { return server_->stats().requests == 1; });
  gate_.wait_for_arrival(1);
  std::vector<std::int32_t> waiting;
  for (int i = 0; i < 10; ++i) waiting.push_back(client.start(kPredict, GrpcClient::framed(predict_request({{2}}))));
  client.run_until([&] { return server_->stats().requests == 11; });
  for (const std::int32_t stream : waiting) client.reset(stream);
  client.reset(running);
  client.ping();
  client.run_until([&] { return client.pings_answered() == 1; });  // the resets have been read
  gate_.open();
  EXPECT_EQ(client.call(kPredict, predict_request({{5}})).status(), 0);
  // The one that ran, perhaps one that lay in the lane behind it, and the last.
  EXPECT_LE(adder_->rows(), 3U);
}

TEST_F(GrpcServerTest, AClientThatLeavesTakesItsCallsAlong) {
  start({}, 1);
  const std::string address = listen(Protocol::kGrpc);
  gate_.hold();
  {
    GrpcClient client(address);
    for (int i = 0; i < 20; ++i) client.start(kPredict, GrpcClient::framed(predict_request({{2}})));
    client.run_until([&] { return server_->stats().requests == 20; });
    const std::vector<float> x(1'000'000);
    client.start(kPredict, GrpcClient::framed(predict_request({x})).substr(0, 100'000), {}, true);
    client.socket().abort();
  }
  eventually([&] { return server_->stats().connections == 0; }, "the connection is gone");
  gate_.open();
  GrpcClient other(address);
  EXPECT_EQ(other.call(kPredict, predict_request({{1}})).status(), 0);
  EXPECT_LE(adder_->rows(), 4U);
}

TEST_F(GrpcServerTest, BoundsTheStreamsOfAConnection) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  gate_.hold();
  for (int i = 0; i < 1500; ++i) client.start(kPredict, GrpcClient::framed(predict_request({{2}})));
  client.run_until([&] { return server_->stats().requests >= 1024; });
  client.ping();
  client.run_until([&] { return client.pings_answered() == 1; });
  EXPECT_EQ(server_->stats().requests, 1024U);
  gate_.open();
  client.run_until([&] { return server_->stats().requests == 1500; });
}

TEST_F(GrpcServerTest, AReaderThatStopsHoldsUpNobodyElse) {
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
  EXPECT_GT(server_->stats().arena.in_use, 8U * 2'000'000U);
  slow.socket().abort();
  eventually([&] { return server_->stats().arena.in_use < 4'000'000; }, "the answers are dropped");
}

TEST_F(GrpcServerTest, EndsWithAClientThatNeverReads) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(100);  // its patience is 2 s, which a slow sender must not use up
  start(options);
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient slow(address, 4096, false);
  const std::vector<float> x(1'000'000, 1.0F);
  const std::int32_t stream = slow.start(kPredict, GrpcClient::framed(predict_request({x})));
  slow.run_until([&] { return slow.reply(stream).closed; });
  EXPECT_EQ(slow.reply(stream).reset, static_cast<std::uint32_t>(NGHTTP2_CANCEL)) << slow.reply(stream).text();
  eventually([&] { return server_->stats().arena.in_use < 5'000'000; }, "its answer is dropped");
}

TEST_F(GrpcServerTest, EndsACallWhoseMessageDoesNotGoOn) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(25);
  start(options);
  GrpcClient client(listen(Protocol::kGrpc));
  const std::int32_t stream =
      client.start(kPredict, GrpcClient::framed(predict_request({{1, 2, 3}})).substr(0, 20), {}, true);
  EXPECT_EQ(client.wait(stream).status(), 1);
  EXPECT_FALSE(client.ended());
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
}

TEST_F(GrpcServerTest, EndsConnectionsThatDoNotGetToHttp2) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(25);
  start(options);
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient idle(address);
  EXPECT_EQ(idle.call(kPredict, predict_request({{1}})).status(), 0);
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  for (const std::string& beginning : {std::string(), preface.substr(0, 10), preface}) {
    PlainClient silent(address);
    silent.send(beginning);
    (void)silent.receive_until_end();  // waits for the end
  }
  // One that has done so may stay. (A client sees its end before the server has counted it.)
  eventually([&] { return server_->stats().connections == 1; }, "the silent ones are gone");
  EXPECT_EQ(idle.call(kPredict, predict_request({{1}})).status(), 0);
}

TEST_F(GrpcServerTest, AnswersHealthChecks) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  const std::string path = "/grpc.health.v1.Health/Check";
  EXPECT_EQ(client.call(path, "").message(), std::string_view("\x08\x01"));
  EXPECT_EQ(client.call(path, pb_bytes(1, "mindspore.serving.proto.MSService")).message(),
            std::string_view("\x08\x01"));
  EXPECT_EQ(client.call(path, pb_bytes(1, "no.Service")).status(), 5);
  EXPECT_EQ(client.call(path, "\xFF").status(), 3);
  EXPECT_EQ(client.call(path, std::string(100'000, '\0')).status(), 8);
  adder_->die("gone");
  EXPECT_EQ(client.call(path, "").message(), std::string_view("\x08\x02"));
}

TEST_F(GrpcServerTest, TellsAnHttp1ClientThatThisIsGrpc) {
  start();
  PlainClient client(listen(Protocol::kGrpc));
  client.send("POST /model/w1:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  const std::string answer = client.receive_until_end();
  EXPECT_NE(answer.find("HTTP/1.1 400"), std::string::npos) << answer;
  EXPECT_NE(answer.find("gRPC"), std::string::npos) << answer;
  const std::size_t body = answer.find("\r\n\r\n") + 4;
  EXPECT_NE(answer.find("Content-Length: " + std::to_string(answer.size() - body)), std::string::npos) << answer;
}

TEST_F(GrpcServerTest, SurvivesNonsense) {
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

TEST_F(GrpcServerTest, EndsWithAClientThatFloodsItWithPings) {
  start();
  PlainClient client(listen(Protocol::kGrpc), 4096);
  std::string flood = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string("\0\0\0\4\0\0\0\0\0", 9);
  for (int i = 0; i < 200'000; ++i) flood += std::string("\0\0\x08\6\0\0\0\0\0abcdefgh", 17);
  client.send(flood);  // and reads no answer; returns when the server has ended it
  eventually([&] { return server_->stats().connections == 0; }, "the connection is ended");
}

TEST_F(GrpcServerTest, EndsWithAClientThatResetsWithoutEnd) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  client.run_until([&] {
    for (int i = 0; i < 1000; ++i) client.reset(client.start(kPredict, "", {}, true));
    return client.ended() || client.going_away();
  });
  EXPECT_TRUE(client.ended() || client.going_away());
}

TEST_F(GrpcServerTest, ClosingAListenerAnswersItsCallsAndFreesThePort) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient client(address);
  gate_.hold();
  const std::int32_t stream = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  client.run_until([&] { return server_->stats().requests == 1; });
  ASSERT_TRUE(server_->close_listener(listener_).ok());
  EXPECT_EQ(server_->stats().connections, 0U);
  EXPECT_FALSE(PlainClient(address).connected());
  client.run_until([&] { return client.ended(); });
  EXPECT_EQ(client.reply(stream).status(), 14);
  EXPECT_EQ(listen(Protocol::kGrpc, 1U << 20U, address), address);
  gate_.open();
  GrpcClient again(address);
  EXPECT_EQ(again.call(kPredict, predict_request({{1}})).status(), 0);
}

}  // namespace
}  // namespace servoir
