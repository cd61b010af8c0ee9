// The steps of a server's end: announce_end(), drain(), close_doors(), stop().

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server_fixture.h"

namespace servoir {
namespace {

constexpr char kHealth[] = "/grpc.health.v1.Health/Check";
constexpr std::string_view kServing = "\x08\x01";
constexpr std::string_view kNotServing = "\x08\x02";

class DrainTest : public ServerTest {
 protected:
  static std::string post(float x) {
    const std::string body = R"({"instances": [{"x": [)" + std::to_string(x) + "]}]}";
    return "POST /model/w1:predict HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body;
  }
  static std::string get(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n"; }
  static bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
};

TEST_F(DrainTest, SaysAtOnceThatItIsNotReadyAndServesOn) {
  start();
  GrpcClient grpc(listen(Protocol::kGrpc));
  const std::string rest = listen(Protocol::kRest);
  EXPECT_EQ(grpc.call(kHealth, "").message(), kServing);
  PlainClient http(rest);
  http.send(get("/health/ready"));
  EXPECT_TRUE(http.receive().starts_with("HTTP/1.1 200 "));

  server_->announce_end();
  EXPECT_EQ(grpc.call(kHealth, "").message(), kNotServing);
  http.send(get("/health/ready"));
  const std::string unready = http.receive();
  EXPECT_TRUE(unready.starts_with("HTTP/1.1 503 ")) << unready;
  EXPECT_TRUE(has(unready, "the server is being stopped")) << unready;
  http.send(get("/health/live"));
  const std::string live = http.receive();
  EXPECT_TRUE(live.starts_with("HTTP/1.1 200 ")) << live;
  EXPECT_FALSE(has(live, "Connection: close")) << live;
  EXPECT_EQ(grpc.call(kPredict, predict_request({{1}})).status(), 0);
  EXPECT_FALSE(grpc.going_away());
}

TEST_F(DrainTest, AnswersWhatIsInFlightOverGrpc) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  gate_.hold();
  const std::int32_t first = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  client.run_until([&] { return server_->stats().total("servoir_requests") == 1; });
  EXPECT_EQ(server_->busy_connections(), 1U);
  server_->drain();
  // Before the client knows of it.
  const std::int32_t second = client.start(kPredict, GrpcClient::framed(predict_request({{2}})));
  client.run_until([&] { return client.goaways().size() == 2; });
  EXPECT_EQ(client.goaways(), (std::vector<std::int32_t>{(1U << 31U) - 1, second}));
  EXPECT_EQ(server_->busy_connections(), 1U);
  gate_.open();
  EXPECT_EQ(predict_values(client.wait(first).message()), (std::vector<std::vector<float>>{{2}}));
  EXPECT_EQ(predict_values(client.wait(second).message()), (std::vector<std::vector<float>>{{3}}));
  client.run_until([&] { return client.ended(); });
  EXPECT_EQ(server_->busy_connections(), 0U);
}

TEST_F(DrainTest, AnswersWhatIsInFlightOverRestAndSaysThatItWasTheLast) {
  start();
  PlainClient client(listen(Protocol::kRest));
  gate_.hold();
  client.send(post(1) + post(2));
  eventually([&] { return server_->stats().total("servoir_requests") == 1; }, "the first request");
  server_->drain();
  EXPECT_EQ(server_->busy_connections(), 1U);
  gate_.open();
  const std::string answers = client.receive_until_end();
  const std::size_t second = answers.rfind("HTTP/1.1 200 ");
  ASSERT_NE(second, 0U) << answers;
  EXPECT_TRUE(has(answers.substr(0, second), R"({"y":[2.0]})")) << answers;
  EXPECT_FALSE(has(answers.substr(0, second), "Connection: close")) << answers;
  EXPECT_TRUE(has(answers.substr(second), R"({"y":[3.0]})")) << answers;
  EXPECT_TRUE(has(answers.substr(second), "Connection: close")) << answers;
  EXPECT_EQ(server_->busy_connections(), 0U);
}

TEST_F(DrainTest, AnIdleConnectionIsToldWithItsNextAnswer) {
  start();
  PlainClient client(listen(Protocol::kRest));
  client.send(post(1));
  EXPECT_FALSE(has(client.receive(), "Connection: close"));
  server_->drain();
  EXPECT_EQ(server_->busy_connections(), 0U);
  client.send(post(2));
  const std::string answer = client.receive_until_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_TRUE(has(answer, "Connection: close")) << answer;
}

TEST_F(DrainTest, RefusesThoseThatComeThen) {
  start();
  const std::string grpc = listen(Protocol::kGrpc);
  const std::string rest = listen(Protocol::kRest);
  server_->drain();
  GrpcClient late(grpc);
  const GrpcReply refused = late.call(kPredict, predict_request({{1}}));
  EXPECT_EQ(refused.status(), 14);
  EXPECT_EQ(late.call(kHealth, "").message(), kNotServing);
  PlainClient http(rest);
  http.send(post(1));
  const std::string answer = http.receive_until_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(has(answer, "Retry-After: 1")) << answer;
  EXPECT_TRUE(has(answer, "Connection: close")) << answer;
  EXPECT_TRUE(has(answer, "the server is being stopped")) << answer;
  PlainClient probe(rest);
  probe.send(get("/health/live"));
  EXPECT_TRUE(probe.receive_until_end().starts_with("HTTP/1.1 200 "));
}

TEST_F(DrainTest, WhatIsLeftIsRefusedWithoutAReset) {
  start();
  const std::string grpc = listen(Protocol::kGrpc);
  const std::string rest = listen(Protocol::kRest);
  gate_.hold();
  GrpcClient call(grpc);
  const std::int32_t stream = call.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  call.run_until([&] { return server_->stats().total("servoir_requests") == 1; });
  PlainClient whole(rest);
  whole.send(post(1));
  eventually([&] { return server_->stats().total("servoir_requests") == 2; }, "the request over REST");
  PlainClient half(rest);
  half.send(post(1).substr(0, 100));
  PlainClient idle(rest);
  eventually([&] { return server_->open_connections() == 4 && server_->busy_connections() == 3; }, "all requests");
  server_->drain();
  server_->stop();
  EXPECT_EQ(call.wait(stream).status(), 14);
  for (PlainClient* client : {&whole, &half}) {
    client->send("and what the client sends meanwhile");
    const std::string answer = client->receive_until_end();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
    EXPECT_TRUE(has(answer, "Retry-After: 1")) << answer;
    EXPECT_TRUE(has(answer, "the server is closing this port")) << answer;
  }
  EXPECT_EQ(idle.receive_until_end(), "");
  EXPECT_EQ(server_->busy_connections(), 0U);
  EXPECT_EQ(server_->open_connections(), 0U);
}

}  // namespace
}  // namespace servoir
