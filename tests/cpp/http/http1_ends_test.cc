// Http1Connection: clients that end their side, that go, and that leave a request unfinished.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "http/http1_connection.h"
#include "support/http1_fixture.h"

namespace servoir::http {
namespace {

using std::chrono::milliseconds;

TEST_F(Http1ConnectionTest, TellsAHandlerThatTheRestOfABodyWillNotCome) {
  Scripted* handler = serve("POST", "/upload");
  handler->pieces = true;
  start();
  PlainClient client = connect_http();
  client.send("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst");
  eventually([&] { return log_.size() == 1; }, "the first piece");
  client.abort();
  eventually([&] { return log_.size() == 2; }, "the end");
  loop_.run_and_wait(
      [&] { EXPECT_TRUE(has(log_[1], "cancelled: the client has ended its side of the connection")) << log_[1]; });
}

// Each answer is given later than its request was read, and the client has ended its side by then.
TEST_F(Http1ConnectionTest, AnswersAllThatAClientSentBeforeItEndedItsSide) {
  Scripted* handler = serve("POST", "/{name}");
  handler->request = [this](Exchange& exchange) {
    exchange.hold();
    loop_.post([&exchange] {
      exchange.respond(200, "text/plain", payload(std::string(exchange.parameter(0)) + std::string(exchange.body())));
      exchange.let_go();
    });
  };
  start();
  const std::string plain = "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1";
  const std::string chunked =
      "POST /second HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n2\r\n0\r\n\r\n";
  const std::string old = "POST /third HTTP/1.0\r\nContent-Length: 1\r\n\r\n3";
  for (const std::string& request : {plain, chunked, old, plain + chunked + old}) {
    for (const bool tcp : {false, true}) {
      PlainClient client = connect_http(1U << 20U, tcp);
      client.send(request);
      client.end();
      const std::string got = client.receive_until_end();
      for (const auto* answered : {"first1", "second2", "third3"}) {
        const std::string path = std::string(answered).substr(0, std::strlen(answered) - 1);
        EXPECT_EQ(has(got, answered), has(request, path)) << request << "\n" << got;
      }
      EXPECT_FALSE(has(got, " 400 ")) << got;
      eventually([&] { return connection_.expired(); }, "the end");
    }
  }
  loop_.run_and_wait([&] { EXPECT_TRUE(log_.empty()); });
}

TEST_F(Http1ConnectionTest, SaysHowFarARequestCameThatWasCutOff) {
  Scripted* handler = serve("POST", "/pieces");
  handler->pieces = true;
  serve("POST", "/whole");
  start();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"POST /whole HTTP/1.1\r\nHos", "within the request's header"},
      {"POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123", "is 10, of which 3 bytes came"},
      {"POST /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n2\r\n", "before the last chunk"},
      {"POST /pieces HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123", "is 10, of which 3 bytes came"},
  };
  auto fallback = std::make_unique<Scripted>();
  fallback->log = &log_;
  routes_.set_fallback("POST", "/NAME", std::move(fallback), &errors_);
  for (const auto& [request, text] : cases) {
    PlainClient client = connect_http();
    client.send(request);
    client.end();
    const std::string got = client.receive_until_end();
    EXPECT_TRUE(got.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Type: text/words\r\n")) << got;
    EXPECT_TRUE(has(got, text)) << got;
  }
  loop_.run_and_wait([&] {
    ASSERT_EQ(log_.size(), 2U);
    EXPECT_EQ(log_[0], "body 123");
    EXPECT_TRUE(has(log_[1], "cancelled: the client has ended its side")) << log_[1];
  });
  PlainClient client = connect_http();
  client.end();
  EXPECT_EQ(client.receive_until_end(), "") << "nothing was asked";
}

// A close looks like the end of one side, until something is sent to a client that has gone.
TEST_F(Http1ConnectionTest, AClientThatHasGoneCancelsItsRequest) {
  serve("POST", "/slow")->request = [](Exchange&) {};
  start({milliseconds(20), 100'000});
  std::size_t cancelled = 0;
  for (const bool tcp : {false, true}) {
    for (const bool resets : {false, true}) {
      PlainClient client = connect_http(1U << 20U, tcp);
      client.send("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
      client.end();
      EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 100 Continue\r\n\r\n")) << "it is asked whether it is there";
      resets ? client.abort() : client.close();
      eventually([&] { return log_.size() == cancelled + 1; }, "the word that it has gone");
      ++cancelled;
    }
  }
  loop_.run_and_wait([&] { EXPECT_EQ(log_.back(), "cancelled: the client has ended its connection"); });
}

TEST_F(Http1ConnectionTest, AnExchangeThatIsHeldOutlivesItsClient) {
  Exchange* held = nullptr;
  std::weak_ptr<int> state;
  serve("POST", "/slow")->request = [&](Exchange& exchange) {
    auto made = std::make_shared<int>(7);
    state = made;
    exchange.state = std::move(made);
    exchange.hold();
    held = &exchange;
  };
  start();
  PlainClient client = connect_http();
  client.send("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  eventually([&] { return held != nullptr; }, "the request");
  loop_.run_and_wait([&] { EXPECT_TRUE(held->is_live()); });
  client.abort();
  eventually([&] { return !log_.empty(); }, "the word that the client has gone");
  loop_.run_and_wait([&] {
    EXPECT_EQ(log_, std::vector<std::string>{"cancelled: the client has ended its connection"});
    EXPECT_FALSE(held->is_live());
    EXPECT_FALSE(connection_.expired());
    EXPECT_FALSE(state.expired());
    held->respond(200, "text/plain", payload("too late"));
    held->send(payload("much too late"));
    held->end();
    held->let_go();
  });
  eventually([&] { return connection_.expired() && state.expired(); }, "the end of the exchange");
}

}  // namespace
}  // namespace servoir::http
