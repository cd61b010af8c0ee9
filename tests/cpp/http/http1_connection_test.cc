#include "http/http1_connection.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "support/http1_fixture.h"

namespace servoir::http {
namespace {

using std::chrono::milliseconds;

TEST_F(Http1ConnectionTest, ShowsTheRequestToItsHandler) {
  std::string seen;
  Scripted* handler = serve("POST", "/v2/models/{model}/infer");
  handler->request = [&](Exchange& exchange) {
    seen = std::string(exchange.method()) + " " + std::string(exchange.target()) + " path " +
           std::string(exchange.path()) + " query " + std::string(exchange.query()) + " model " +
           std::string(exchange.parameter(0)) + " header " + std::string(exchange.header("X-Mine").value_or("none")) +
           " and " + std::string(exchange.header("other").value_or("none")) + " body " + std::string(exchange.body());
    exchange.add_header("X-Answer", "42");
    exchange.respond(200, "text/plain", payload("thanks"));
  };
  start();
  PlainClient client = connect_http();
  client.send(
      "POST /v2/models/add/infer?a=1&b=? HTTP/1.1\r\nHost: x\r\nx-mine: first\r\nX-Mine: second\r\n"
      "Content-Length: 4\r\n\r\nbody");
  const std::string got = answer(&client);
  EXPECT_EQ(seen,
            "POST /v2/models/add/infer?a=1&b=? path /v2/models/add/infer query a=1&b=? model add header first and none "
            "body body");
  EXPECT_TRUE(got.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nDate: ")) << got;
  EXPECT_TRUE(has(got, "\r\nX-Answer: 42\r\n")) << got;
  EXPECT_EQ(body_of(got), "thanks");
}

// As a client sends it that takes the server for a proxy.
TEST_F(Http1ConnectionTest, TheTargetMayBeAWholeUrl) {
  serve("GET", "/ready")->request = [](Exchange& exchange) {
    exchange.respond(200, "text/plain", payload(std::string(exchange.path()) + " " + std::string(exchange.query())));
  };
  serve("GET", "/")->request = [](Exchange& exchange) {
    exchange.respond(200, "text/plain", payload(exchange.path()));
  };
  start();
  PlainClient client = connect_http();
  for (const auto& [target, body] : std::map<std::string, std::string>{{"http://x:80/ready?a=b/c", "/ready a=b/c"},
                                                                       {"http://x/ready", "/ready "},
                                                                       {"http://x", "/"},
                                                                       {"http://x/", "/"},
                                                                       {"/?a=http://x/ready", "/"}}) {
    client.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(body_of(answer(&client)), body) << target;
  }
  client.send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer(&client).starts_with("HTTP/1.1 404 "));
}

TEST_F(Http1ConnectionTest, SaysWhichEncodingItTakes) {
  routes_.set_fallback("POST", "/NAME", std::make_unique<Scripted>(), &errors_);
  start();
  PlainClient client = connect_http();
  client.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b");
  const std::string got = client.receive_until_end();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 415 ")) << got;
  EXPECT_TRUE(has(got, "\r\nAccept-Encoding: identity\r\n")) << got;
  EXPECT_TRUE(has(got, "the content-encoding is 'gzip'")) << got;
}

TEST_F(Http1ConnectionTest, AnswersRequestsSentAheadInTheirOrder) {
  serve("POST", "/{name}")->request = [](Exchange& exchange) {
    exchange.respond(200, "text/plain", payload(exchange.parameter(0)));
  };
  start();
  PlainClient client = connect_http();
  std::string all;
  for (int i = 0; i < 20; ++i) {
    all += "POST /r" + std::to_string(100 + i) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
  }
  all += "POST /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  for (std::size_t at = 0; at < all.size(); at += 37) client.send(std::string_view(all).substr(at, 37));
  const std::string got = client.receive_until_end();
  std::size_t at = 0;
  for (int i = 0; i < 20; ++i) {
    const std::size_t found = got.find("\r\n\r\nr" + std::to_string(100 + i), at);
    ASSERT_NE(found, std::string::npos) << i;
    at = found;
  }
  EXPECT_TRUE(has(got.substr(at), "\r\n\r\nlast"));
  EXPECT_TRUE(has(got.substr(at), "Connection: close"));
}

TEST_F(Http1ConnectionTest, RefusesInTheFamilysForm) {
  serve("POST", "/infer");
  serve("GET", "/ready");
  start();
  PlainClient client = connect_http(10);
  client.send("GET /infer HTTP/1.1\r\nHost: x\r\n\r\n");
  std::string got = answer(&client);
  EXPECT_TRUE(got.starts_with("HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/words\r\n")) << got;
  EXPECT_TRUE(has(got, "\r\nAllow: POST\r\n")) << got;
  EXPECT_TRUE(has(got, "error: the method is GET")) << got;
  client.send("POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n12345678901");
  got = answer(&client);
  EXPECT_TRUE(got.starts_with("HTTP/1.1 413 ")) << got;
  EXPECT_TRUE(has(got, "the limit of 10 bytes")) << got;
  EXPECT_TRUE(has(got, "max_msg_mb_size")) << got;
  client.send("POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1234567890");
  EXPECT_TRUE(answer(&client).starts_with("HTTP/1.1 200 OK")) << "the connection goes on";
  client.send("HEAD /ready HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  got = client.receive_until_end();
  EXPECT_TRUE(has(got, "Content-Length: 2\r\n")) << got;
  EXPECT_EQ(got.find("ok"), got.rfind("ok")) << "the answer of HEAD has no body: " << got;
}

TEST_F(Http1ConnectionTest, GivesABodyInPiecesAsItComes) {
  serve("POST", "/upload")->pieces = true;
  start();
  PlainClient client = connect_http();
  client.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst");
  eventually([&] { return log_.size() == 1; }, "the first piece, before the body is complete");
  client.send("other");
  EXPECT_TRUE(answer(&client).starts_with("HTTP/1.1 200"));
  loop_.run_and_wait([&] { EXPECT_EQ(log_, (std::vector<std::string>{"body first", "body other"})); });
}

// One byte now and then is no progress, neither of a head nor of a body, nor of a body that nobody wants.
TEST_F(Http1ConnectionTest, EndsAClientThatSendsTooSlowly) {
  serve("POST", "/infer");
  start({milliseconds(5), 8, 4});
  const std::string head = "POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n";
  for (const std::string& beginning : {head, head + "\r\n", std::string("POST /none HTTP/1.1\r\nHost: x\r\n\r\nG")}) {
    PlainClient client = connect_http();
    client.send(beginning + (beginning.ends_with("\r\n\r\n") ? "" : "X: "));
    std::uint32_t last = 0;
    eventually(
        [&] {
          if (set_->sweeps() != last) client.send("x");
          last = set_->sweeps();
          return connection_.expired();
        },
        "the end");
  }
}

TEST_F(Http1ConnectionTest, BearsWithAClientThatIsSlowBetweenRequests) {
  serve("GET", "/ready");
  start({milliseconds(50), 40, 4});
  PlainClient client = connect_http();
  for (int i = 0; i < 3; ++i) {
    client.send("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(answer(&client).starts_with("HTTP/1.1 200"));
    eventually([&, until = set_->sweeps() + 8] { return set_->sweeps() > until; }, "sweeps");
  }
}

// 20 000 requests that come at once, each answered later than it was read.
TEST_F(Http1ConnectionTest, AnswersManyRequestsThatWereSentAhead) {
  Scripted* handler = serve("GET", "/later");
  handler->request = [this](Exchange& exchange) {
    exchange.hold();
    loop_.post([&exchange] {
      exchange.respond(200, "text/plain", Payload());
      exchange.let_go();
    });
  };
  start();
  PlainClient client = connect_http();
  std::string all;
  for (int i = 0; i < 20'000; ++i) all += "GET /later HTTP/1.1\r\nHost: x\r\n\r\n";
  std::thread sender([&] { client.send(all); });
  std::size_t answers = 0;
  std::string got;
  while (answers < 20'000) {
    const std::string more = client.receive();
    if (more.empty()) break;
    got += more;
    std::size_t at = 0;
    for (std::size_t end = 0; (end = got.find("\r\n\r\n", at)) != std::string::npos; at = end + 4) ++answers;
    got.erase(0, at);
  }
  sender.join();
  EXPECT_EQ(answers, 20'000U);
}

TEST_F(Http1ConnectionTest, SendsAnAnswerPieceByPiece) {
  int pieces = 0;
  Scripted* handler = serve("POST", "/stream");
  handler->request = [&](Exchange& exchange) {
    exchange.begin(200, "text/event-stream");
    exchange.send(payload("one"));
  };
  handler->drained = [&](Exchange& exchange) {
    EXPECT_EQ(exchange.unsent(), 0U);
    if (++pieces == 1) {
      exchange.send(payload("twenty bytes of text"));
    } else if (pieces == 2) {
      exchange.end();
      EXPECT_FALSE(exchange.is_live());
    }
  };
  start();
  PlainClient client = connect_http();
  client.send("POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  std::string got;
  while (!has(got, "\r\n0\r\n\r\n")) {
    const std::string more = client.receive();
    ASSERT_FALSE(more.empty()) << got;
    got += more;
  }
  EXPECT_TRUE(has(got, "Transfer-Encoding: chunked\r\n")) << got;
  EXPECT_FALSE(has(got, "Content-Length")) << got;
  EXPECT_EQ(body_of(got), "3\r\none\r\n14\r\ntwenty bytes of text\r\n0\r\n\r\n");
  client.send("POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(answer(&client).starts_with("HTTP/1.1 404 Not Found")) << "the connection goes on";
}

TEST_F(Http1ConnectionTest, AnAnswerInPiecesEndsAnHttp10ConnectionWithIt) {
  serve("POST", "/stream")->request = [](Exchange& exchange) {
    exchange.begin(200, "text/plain");
    exchange.send(payload("one "));
    exchange.send(payload("two"));
    exchange.end();
  };
  start();
  PlainClient client = connect_http();
  client.send("POST /stream HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n");
  const std::string got = client.receive_until_end();
  EXPECT_TRUE(got.starts_with("HTTP/1.0 200 OK\r\n")) << got;
  EXPECT_FALSE(has(got, "chunked")) << got;
  EXPECT_EQ(body_of(got), "one two");
}

TEST_F(Http1ConnectionTest, AnAnswerMayComeLaterAndFurtherRequestsWaitForIt) {
  std::vector<Exchange*> asked;
  serve("POST", "/later")->request = [&](Exchange& exchange) {
    exchange.hold();
    asked.push_back(&exchange);
  };
  start();
  PlainClient client = connect_http();
  const std::string request = "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
  client.send(request + request);
  const auto reply = [&](const char* text) {
    loop_.run_and_wait([&] {
      ASSERT_EQ(asked.size(), 1U);
      Exchange* exchange = asked.front();
      asked.clear();
      exchange->respond(200, "text/plain", payload(text));
      exchange->let_go();
    });
  };
  eventually([&] { return !asked.empty(); }, "the first request");
  reply("first");
  EXPECT_EQ(body_of(answer(&client)), "first");
  eventually([&] { return !asked.empty(); }, "the second request");
  reply("second");
  EXPECT_EQ(body_of(answer(&client)), "second");
}

TEST_F(Http1ConnectionTest, AClosingPortAnswersWhatItIsAsked) {
  Exchange* held = nullptr;
  serve("POST", "/slow")->request = [&](Exchange& exchange) {
    exchange.hold();
    held = &exchange;
  };
  start();
  PlainClient client = connect_http();
  client.send("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  eventually([&] { return held != nullptr; }, "the request");
  loop_.run_and_wait([&] { set_->end_if([](const Connection&) { return true; }); });
  const std::string got = client.receive_until_end();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 503 Service Unavailable")) << got;
  EXPECT_TRUE(has(got, "the server is closing this port")) << got;
  loop_.run_and_wait([&] { held->let_go(); });
}

TEST_F(Http1ConnectionTest, WhatIsNoHttpIsToldSoAndEnds) {
  auto fallback = std::make_unique<Scripted>();
  fallback->log = &log_;
  routes_.set_fallback("POST", "/model/NAME:METHOD", std::move(fallback), &errors_);
  start();
  PlainClient client = connect_http();
  client.send("nonsense\r\n\r\n");
  const std::string got = client.receive_until_end();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Type: text/words\r\n")) << got;
  EXPECT_TRUE(has(got, "Connection: close")) << got;
}

TEST_F(Http1ConnectionTest, ClientsThatHoldTooMuchGetNoMore) {
  // What the kernel holds of an answer counts no more. It takes some 5 MB for the two sockets at the most, so that the
  // rest of the first answer always fills more of the budget than the second one leaves.
  constexpr std::size_t kAnswer = 16U << 20U;
  MemoryBudget budget(20U << 20U);
  serve("POST", "/echo")->request = [](Exchange& exchange) {
    exchange.respond(200, "text/plain", payload(std::string(kAnswer, 'x')));
  };
  serve("POST", "/asks")->request = [](Exchange& exchange) {
    exchange.respond(200, "text/plain", payload(exchange.take_for_body(kAnswer) ? "granted" : "not granted"));
  };
  const auto context = std::make_shared<Http1Context>(Http1Context{.routes = &routes_, .budget = &budget});
  start();
  const auto make = [&](ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream) {
    return std::make_shared<Http1Connection>(set, std::move(socket), std::move(stream), 1, context);
  };
  const std::string request = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
  PlainClient deaf = connect(make);
  deaf.send(request);
  eventually([&] { return budget.used() > kAnswer / 4; }, "an answer that nobody reads");
  PlainClient other = connect(make);
  other.send(request);
  const std::string got = answer(&other);
  EXPECT_TRUE(got.starts_with("HTTP/1.1 503 ") && has(got, "finds no memory")) << got.substr(0, 200);
  other.send("POST /asks HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(body_of(answer(&other)), "not granted");
  EXPECT_EQ(body_of(answer(&deaf)).size(), kAnswer);
  eventually([&] { return budget.used() == 0; }, "the budget is given back");
  other.send(request);
  EXPECT_TRUE(answer(&other).starts_with("HTTP/1.1 200"));
}

}  // namespace
}  // namespace servoir::http
