// The REST side of a Server, from the client's end of the socket.

#include <poll.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "server_fixture.h"

namespace servoir {
namespace {

struct HttpReply {
  int status = 0;
  std::string head;
  std::string body;
};

class RestServerTest : public ServerTest {
 protected:
  static std::string post(const std::string& body, const std::string& headers = "",
                          const std::string& path = "/model/w1:predict") {
    return "POST " + path + " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
           headers + "\r\n" + body;
  }
  // The next reply; what follows it stays in `rest_`.
  HttpReply read(PlainClient* client, bool has_body = true) {
    HttpReply reply;
    std::size_t end = 0;
    while ((end = rest_.find("\r\n\r\n")) == std::string::npos) {
      const std::string bytes = client->receive();
      if (bytes.empty()) return reply;
      rest_ += bytes;
    }
    reply.head = rest_.substr(0, end + 2);
    rest_.erase(0, end + 4);
    reply.status = std::stoi(reply.head.substr(reply.head.find(' ') + 1));
    const std::size_t length_at = reply.head.find("Content-Length: ");
    if (!has_body || length_at == std::string::npos) return reply;
    const std::size_t length = std::stoul(reply.head.substr(length_at + 16));
    while (rest_.size() < length) {
      const std::string bytes = client->receive();
      if (bytes.empty()) return reply;
      rest_ += bytes;
    }
    reply.body = rest_.substr(0, length);
    rest_.erase(0, length);
    return reply;
  }

  std::string rest_;
};

constexpr char kBody[] = R"({"instances": [{"x": [1.5, 2.5]}]})";
constexpr char kAnswer[] = R"({"instances":[{"y":[2.5,3.5]}]})";

std::string without_blanks(std::string text) {
  std::erase(text, ' ');
  return text;
}

TEST_F(RestServerTest, AnswersAndKeepsTheConnection) {
  start();
  PlainClient client(listen(Protocol::kRest));
  for (int i = 0; i < 3; ++i) {
    client.send(post(kBody));
    const HttpReply reply = read(&client);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(without_blanks(reply.body), kAnswer);
    EXPECT_TRUE(reply.head.starts_with("HTTP/1.1 200 OK\r\n")) << reply.head;
    EXPECT_NE(reply.head.find("\r\nContent-Type: application/json\r\n"), std::string::npos) << reply.head;
    EXPECT_NE(reply.head.find("\r\nDate: "), std::string::npos) << reply.head;
    EXPECT_EQ(reply.head.find("Connection"), std::string::npos) << reply.head;
  }
}

TEST_F(RestServerTest, TakesRequestsInAnyPieces) {
  start();
  PlainClient client(listen(Protocol::kRest));
  const std::string bytes = post(kBody);
  for (const char c : bytes) client.send(std::string_view(&c, 1));
  EXPECT_EQ(read(&client).status, 200);
}

TEST_F(RestServerTest, AnswersPipelinedRequestsInOrder) {
  start();
  PlainClient client(listen(Protocol::kRest));
  gate_.hold();
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    bytes += post(R"({"instances": [{"x": [)" + std::to_string(i) + R"(.5]}]})");
    if (i == 10) bytes += post("not JSON");
  }
  client.send(bytes);
  gate_.wait_for_arrival(1);
  EXPECT_EQ(server_->stats().total("servoir_requests"), 1U);  // one after the other
  gate_.open();
  for (int i = 0; i < 50; ++i) {
    const HttpReply reply = read(&client);
    ASSERT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(without_blanks(reply.body), R"({"instances":[{"y":[)" + std::to_string(i + 1) + ".5]}]}");
    if (i == 10) {
      ASSERT_EQ(read(&client).status, 400);
    }
  }
}

TEST_F(RestServerTest, PassesLargeBodiesBothWays) {
  start();
  PlainClient client(listen(Protocol::kRest));
  std::string body = R"({"instances": [{"x": [)";
  std::string answer = R"({"instances":[{"y":[)";
  for (int i = 0; i < 300'000; ++i) {
    const std::string comma = i == 0 ? "" : ",";
    body += comma + std::to_string(i % 1000) + ".5";
    answer += comma + std::to_string(i % 1000 + 1) + ".5";
  }
  client.send(post(body + "]}]}"));
  const HttpReply reply = read(&client);
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(without_blanks(reply.body) == answer + "]}]}");
}

// 8 million numbers, which take an I/O thread more than 100 ms to read, and as long to print.
std::string long_body() {
  std::string body = R"({"instances": [{"x": [0.5)";
  for (int i = 0; i < 8'000'000; ++i) body += ",1.5";
  return body + "]}]}";
}

TEST_F(RestServerTest, AnswersOthersWhileItReadsAndWritesALongText) {
  start();  // one I/O thread
  PlainClient client(listen(Protocol::kRest));
  PlainClient other(server_->listener_address(listener_).value());
  const auto figure = [&](const char* name) { return server_->stats().total(name); };
  // How many of another client's requests are answered until then.
  const auto answered_until = [&](const std::function<bool()>& is_so) {
    int answered = 0;
    for (; !is_so(); ++answered) {
      other.send(post(kBody, "", "/model/none:predict"));
      EXPECT_EQ(read(&other).status, 404);
    }
    return answered;
  };
  const std::string body = long_body();
  const std::string answer = R"({"instances":[{"y":[1.5]}]})";
  // Whoever looks may come too late on a busy machine, but not every time.
  int while_read = 0;
  int while_written = 0;
  for (int i = 1; i <= 10 && (while_read < 3 || while_written < 3); ++i) {
    const auto is_taken = [&] { return figure("servoir_requests") == i; };
    gate_.hold();
    client.send(post(body));
    eventually([&] { return is_taken() || figure("servoir_rest_held_bytes") >= static_cast<double>(body.size()); },
               "the whole body");
    while_read = std::max(while_read, answered_until(is_taken));
    gate_.wait_for_arrival(i);
    gate_.open();
    eventually([&] { return adder_->rows() == static_cast<std::uint64_t>(i); }, "the result");
    pollfd waiting{client.fd(), POLLIN, 0};
    while_written = std::max(while_written, answered_until([&] { return ::poll(&waiting, 1, 0) != 0; }));
    ASSERT_EQ(read(&client).body.size(), answer.size() + 8'000'000U * 4);
  }
  EXPECT_GE(while_read, 3);
  EXPECT_GE(while_written, 3);
}

TEST_F(RestServerTest, ForgetsALongTextWhoseClientHasGone) {
  start();
  PlainClient client(listen(Protocol::kRest));
  client.send(post(long_body()));
  client.abort();
  eventually([&] { return server_->stats().total("servoir_rest_held_bytes") == 0; }, "its memory is given back");
  PlainClient other(server_->listener_address(listener_).value());
  other.send(post(kBody));
  EXPECT_EQ(read(&other).status, 200);
}

TEST_F(RestServerTest, StopsWhileItReadsALongText) {
  start();
  PlainClient first(listen(Protocol::kRest));
  PlainClient second(server_->listener_address(listener_).value());
  const std::string body = post(long_body());
  first.send(body);
  second.send(body);
  // Both texts are there, or the first one has been read already.
  eventually(
      [&] {
        return server_->stats().total("servoir_rest_held_bytes") > 60'000'000 ||
               server_->stats().total("servoir_requests") > 0;
      },
      "the texts");
  server_->stop();
}

TEST_F(RestServerTest, ReadsChunkedBodies) {
  start();
  PlainClient client(listen(Protocol::kRest));
  client.send("POST /model/w1:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string body = kBody;
  client.send("5\r\n" + body.substr(0, 5) + "\r\n");
  client.send("1D\r\n" + body.substr(5) + "\r\n0\r\n\r\n");
  EXPECT_EQ(read(&client).status, 200);
}

TEST_F(RestServerTest, SpeaksHttp10) {
  start();
  const std::string address = listen(Protocol::kRest);
  const std::string body = kBody;
  const std::string head = "POST /model/w1:predict HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  PlainClient once(address);
  once.send(head + "\r\n" + body);
  const std::string answer = once.receive_until_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.0 200 OK\r\n")) << answer;
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);

  PlainClient kept(address);
  for (int i = 0; i < 2; ++i) {
    kept.send(head + "Connection: keep-alive\r\n\r\n" + body);
    const HttpReply reply = read(&kept);
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.head.find("Connection: keep-alive"), std::string::npos) << reply.head;
  }
}

TEST_F(RestServerTest, SaysContinueWhenAsked) {
  start();
  PlainClient client(listen(Protocol::kRest));
  const std::string request = post(kBody, "Expect: 100-continue\r\n");
  const std::size_t body_at = request.find("\r\n\r\n") + 4;
  client.send(request.substr(0, body_at));
  EXPECT_EQ(read(&client).status, 100);
  client.send(request.substr(body_at));
  EXPECT_EQ(read(&client).status, 200);
}

TEST_F(RestServerTest, EndsWhenTheClientWantsItTo) {
  start();
  PlainClient client(listen(Protocol::kRest));
  client.send(post(kBody, "Connection: close\r\n"));
  const std::string answer = client.receive_until_end();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK")) << answer;
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
}

TEST_F(RestServerTest, ServesPostOnly) {
  start();
  PlainClient client(listen(Protocol::kRest));
  for (const char* method : {"GET", "PUT", "DELETE", "HEAD", "STRANGE"}) {
    client.send(std::string(method) + " /model/w1:predict HTTP/1.1\r\nHost: x\r\n\r\n");
    const bool head = std::string(method) == "HEAD";
    const HttpReply reply = read(&client, !head);
    EXPECT_EQ(reply.status, 405);
    EXPECT_NE(reply.head.find("Allow: POST"), std::string::npos);
    if (!head) {
      EXPECT_NE(reply.body.find("error_msg"), std::string::npos) << reply.body;
      EXPECT_NE(reply.body.find("only POST"), std::string::npos) << reply.body;
    }
  }
  client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody" + post(kBody));
  EXPECT_EQ(read(&client).status, 405);
  EXPECT_EQ(read(&client).status, 200);
}

TEST_F(RestServerTest, RefusesABodyOverTheLimitAndGoesOn) {
  start();
  PlainClient client(listen(Protocol::kRest, 1000));
  client.send(post(std::string(1001, ' ')) + post(kBody));
  const HttpReply reply = read(&client);
  EXPECT_EQ(reply.status, 413);
  EXPECT_NE(reply.body.find("1000 bytes"), std::string::npos) << reply.body;
  EXPECT_NE(reply.body.find("max_msg_mb_size"), std::string::npos) << reply.body;
  EXPECT_EQ(read(&client).status, 200);

  // Chunked: known only on the way. The answer does not wait for the end.
  client.send("POST /model/w1:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" +
              std::string(1024, ' ') + "\r\n");
  EXPECT_EQ(read(&client).status, 413);
  client.send("400\r\n" + std::string(1024, ' ') + "\r\n0\r\n\r\n" + post(kBody));
  EXPECT_EQ(read(&client).status, 200);

  // The body was not sent yet, and is not wanted.
  client.send("POST /model/w1:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(read(&client).status, 413);
}

TEST_F(RestServerTest, AnswersBadRequestsWithJson) {
  start();
  const std::string address = listen(Protocol::kRest);
  {
    PlainClient client(address);
    client.send("nonsense\r\n\r\n");
    const std::string answer = client.receive_until_end();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 Bad Request")) << answer;
    EXPECT_NE(answer.find("\"error_msg\""), std::string::npos) << answer;
  }
  {
    PlainClient client(address);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n");
    EXPECT_TRUE(client.receive_until_end().starts_with("HTTP/1.1 431 "));
  }
  PlainClient client(address);
  client.send(post(kBody, "", "/nowhere"));
  EXPECT_EQ(read(&client).status, 404);
  client.send(post(kBody, "", "/model/w1"));
  EXPECT_EQ(read(&client).status, 400);
  client.send(post(kBody, "", "/model/nobody:predict"));
  EXPECT_EQ(read(&client).status, 404);
  client.send(post("{"));
  EXPECT_EQ(read(&client).status, 400);
  client.send(post(kBody));
  EXPECT_EQ(read(&client).status, 200);
}

TEST_F(RestServerTest, AClientThatLeavesTakesItsRequestAlong) {
  start({}, 1);
  const std::string address = listen(Protocol::kRest);
  gate_.hold();
  std::vector<std::unique_ptr<PlainClient>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<PlainClient>(address));
    clients.back()->send(post(kBody));
  }
  eventually([&] { return server_->stats().total("servoir_requests") == 10; }, "all requests are read");
  clients.clear();
  eventually([&] { return server_->stats().total("servoir_connections") == 0; }, "the connections are gone");
  gate_.open();
  PlainClient client(address);
  client.send(post(kBody));
  EXPECT_EQ(read(&client).status, 200);
  EXPECT_LE(adder_->rows(), 4U);
}

TEST_F(RestServerTest, SendsTheAnswerToAClientThatHasEndedItsSide) {
  start();
  PlainClient client(listen(Protocol::kRest));
  client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  client.end();
  EXPECT_TRUE(client.receive_until_end().starts_with("HTTP/1.1 405"));
}

TEST_F(RestServerTest, BoundsTheBodiesThatItHolds) {
  ServerOptions options;
  options.rest_limit = 1'000'000;
  start(options);
  const std::string address = listen(Protocol::kRest);
  PlainClient slow(address);
  const std::string long_body = std::string(2'000'000, ' ') + kBody;  // more than the limit: it is alone
  const std::string long_post = post(long_body);
  slow.send(long_post.substr(0, long_post.size() - 10));
  eventually([&] { return server_->stats().total("servoir_rest_held_bytes") >= 1'000'000; },
             "the body of the first takes the memory");
  PlainClient other(address);
  other.send(post(std::string(500'000, ' ') + kBody));
  const HttpReply refused = read(&other);
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.body.find("other REST requests take all the memory"), std::string::npos) << refused.body;
  other.send(post(kBody));
  EXPECT_EQ(read(&other).status, 200) << "small ones are always served";
  slow.send(long_post.substr(long_post.size() - 10));
  EXPECT_EQ(read(&slow).status, 200);
  other.send(post(std::string(500'000, ' ') + kBody));
  EXPECT_EQ(read(&other).status, 200);
}

TEST_F(RestServerTest, BoundsTheAnswersThatNobodyReads) {
  ServerOptions options;
  options.rest_limit = 1'000'000;
  start(options);
  const std::string address = listen(Protocol::kRest);
  std::string body = R"({"instances": [{"x": [)";
  for (int i = 0; i < 3'000'000; ++i) body += "1.5,";  // an answer larger than the sockets' buffers
  body += "1.5]}]}";
  auto deaf = std::make_unique<PlainClient>(address, 65'536);
  deaf->send(post(body));
  pollfd answer{deaf->fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&answer, 1, kTestPatienceMs), 1);
  eventually([&] { return server_->stats().total("servoir_rest_held_bytes") >= 1'000'000; },
             "its answer takes the memory");
  PlainClient other(address);
  other.send(post(body));
  EXPECT_EQ(read(&other).status, 503);
  deaf.reset();
  eventually(
      [&] {
        other.send(post(body));
        return read(&other).status == 200;
      },
      "the memory is free again");
}

TEST_F(RestServerTest, HoldsBackRequestsWhoseAnswersNobodyReads) {
  start();
  PlainClient client(listen(Protocol::kRest), 65'536);
  std::string body = R"({"instances": [{"x": [)";
  for (int i = 0; i < 1'000'000; ++i) body += "1.5,";
  body += "1.5]}]}";
  client.send(post(body));
  std::string many;
  for (int i = 0; i < 200; ++i) many += post(kBody);
  client.send(many);
  EXPECT_EQ(read(&client).status, 200);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(read(&client).status, 200) << i;
}

TEST_F(RestServerTest, EndsIdleConnections) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(5);
  start(options);
  PlainClient silent(listen(Protocol::kRest));
  EXPECT_EQ(silent.receive_until_end(), "");
  PlainClient slow(server_->listener_address(listener_).value());
  slow.send("POST /model/w1:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_EQ(slow.receive_until_end(), "");
}

TEST_F(RestServerTest, WaitsForItsWorkerLongerThanForAClient) {
  ServerOptions options;
  options.sweep = std::chrono::milliseconds(50);
  start(options);
  PlainClient client(listen(Protocol::kRest));
  PlainClient idle(server_->listener_address(listener_).value());
  gate_.hold();
  client.send(post(kBody));
  gate_.wait_for_arrival(1);
  EXPECT_EQ(idle.receive_until_end(), "");  // the other one has gone by then
  gate_.open();
  EXPECT_EQ(read(&client).status, 200);
}

TEST_F(RestServerTest, TellsThatItsPortCloses) {
  start();
  PlainClient client(listen(Protocol::kRest));
  gate_.hold();
  client.send(post(kBody));
  gate_.wait_for_arrival(1);
  ASSERT_TRUE(server_->close_listener(listener_).ok());
  EXPECT_TRUE(client.receive_until_end().starts_with("HTTP/1.1 503 "));
}

}  // namespace
}  // namespace servoir
