// Calls that a Server answers over gRPC, from the client's end of the socket.

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
  EXPECT_EQ(server_->stats().total("servoir_requests"), 12U * 40U * 5U);
  EXPECT_EQ(server_->stats().total("servoir_connections"), 12U);
}

TEST_F(GrpcServerTest, WhatComesTogetherIsBatchedTogether) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient client(address);
  gate_.hold();
  const std::int32_t first = client.start(kPredict, GrpcClient::framed(predict_request({{0}})));
  client.run_until([&] { return server_->stats().total("servoir_requests") == 1; });
  gate_.wait_for_arrival(1);
  std::vector<std::int32_t> streams;
  for (int i = 0; i < 50; ++i) streams.push_back(client.start(kPredict, GrpcClient::framed(predict_request({{1}}))));
  client.run_until([&] { return server_->stats().total("servoir_requests") == 51; });
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
  eventually([&] { return server_->stats().total("servoir_arena_used_bytes") < 10'000'000; },
             "the arena's blocks are given back");
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
  client.run_until([&] { return server_->stats().total("servoir_requests") == 1; });
  gate_.wait_for_arrival(1);
  std::vector<std::int32_t> waiting;
  for (int i = 0; i < 10; ++i) waiting.push_back(client.start(kPredict, GrpcClient::framed(predict_request({{2}}))));
  client.run_until([&] { return server_->stats().total("servoir_requests") == 11; });
  for (const std::int32_t stream : waiting) client.reset(stream);
  client.reset(running);
  client.ping();
  client.run_until([&] { return client.pings_answered() == 1; });  // the resets have been read
  gate_.open();
  EXPECT_EQ(client.call(kPredict, predict_request({{5}})).status(), 0);
  // The one that ran, perhaps one that lay in the lane after it, and the last.
  EXPECT_LE(adder_->rows(), 3U);
}

TEST_F(GrpcServerTest, ClosingAListenerAnswersItsCallsAndFreesThePort) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient client(address);
  gate_.hold();
  const std::int32_t stream = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  client.run_until([&] { return server_->stats().total("servoir_requests") == 1; });
  ASSERT_TRUE(server_->close_listener(listener_).ok());
  EXPECT_FALSE(PlainClient(address).connected());
  client.run_until([&] { return client.ended(); });
  EXPECT_EQ(client.reply(stream).status(), 14);
  client.socket().end();
  eventually([&] { return server_->open_connections() == 0; }, "the end of the connection");
  EXPECT_EQ(listen(Protocol::kGrpc, 1U << 20U, address), address);
  gate_.open();
  GrpcClient again(address);
  EXPECT_EQ(again.call(kPredict, predict_request({{1}})).status(), 0);
}

}  // namespace
}  // namespace servoir
