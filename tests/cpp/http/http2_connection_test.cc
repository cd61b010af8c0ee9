// Http2Connection with streams of the test's own, asked by nghttp2's client session.
#include "http/http2_connection.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "support/grpc_client.h"
#include "support/loop_fixture.h"

namespace servoir::http {
namespace {

// Gives back what it was sent, unless the path says otherwise:
//
//   /alone    a header is the whole answer      /pieces   nothing is answered until the test does it
//   /wait     takes no more input than the client's window has room for, until the test consumes it
//   /early    answered at the request's header
//
// All of it belongs to the loop's thread.
class EchoStream final : public Stream {
 public:
  struct World {
    int made = 0;
    std::map<std::string, EchoStream*> by_path;
    std::vector<std::string> log;
  };
  EchoStream(StreamHost* its_host, World* its_world) : host(its_host), world(its_world) {}

  void on_open() override {
    fields.clear();
    received = 0;
    body.clear();
    sent = 0;
    complete = false;
    too_large = 0;
  }
  void on_field(std::string_view name, std::string_view value) override { fields[std::string(name)] = value; }
  void on_header_end(std::size_t bytes) override {
    too_large = bytes;
    world->by_path[fields[":path"]] = this;
    if (too_large > 0) {
      fields["too-large"] = std::to_string(too_large);
      answer(true);
    } else if (fields[":path"] == "/early") {
      body = "already answered";
      complete = true;
      answer(false);
    }
  }
  bool on_data(std::span<const std::byte> data) override {
    received += data.size();
    if (fields[":path"] == "/wait") return false;
    if (complete) return true;
    body.append(reinterpret_cast<const char*>(data.data()), data.size());
    return true;
  }
  void on_half_close() override {
    const std::string& path = fields[":path"];
    if (path == "/pieces" || path == "/early" || too_large > 0) return;
    complete = true;
    answer(path == "/alone");
  }
  void on_close() override { world->log.push_back("closed " + fields[":path"]); }
  void on_sweep() override { world->log.emplace_back("sweep"); }
  void abort(const Status& why) override {
    world->log.push_back("aborted: " + std::string(why.message()));
    fields["too-large"] = "aborted";
    answer(true);
  }
  std::span<std::byte> next_destination() const override { return {}; }
  std::size_t body_left() const override { return body.size() - sent; }
  bool body_is_complete() const override { return complete; }
  void send_body(std::size_t bytes, OutputQueue* out) override {
    out->append(std::string_view(body).substr(sent, bytes));
    sent += bytes;
  }
  std::size_t trailers(std::span<Field> into) override {
    into[0] = {"x-trailer", "the end", true};
    return 1;
  }

  void answer(bool alone) {
    const std::array<Field, 3> all = {Field{":status", "200", true}, Field{"x-mine", fields["x-mine"]},
                                      Field{"x-large", fields["too-large"]}};
    host->respond(this, all, alone);
  }

  StreamHost* const host;
  World* const world;
  std::map<std::string, std::string> fields;
  std::size_t received = 0;
  std::string body;
  std::size_t sent = 0;  // of the body
  bool complete = false;
  std::size_t too_large = 0;
};

class EchoFactory final : public StreamFactory {
 public:
  explicit EchoFactory(EchoStream::World* world) : world_(world) {}
  std::unique_ptr<Stream> make_stream(StreamHost* host) const override {
    ++world_->made;
    return std::make_unique<EchoStream>(host, world_);
  }

 private:
  EchoStream::World* const world_;
};

class Http2ConnectionTest : public LoopTest {
 protected:
  PlainClient connect_http2(bool tcp = false) {
    auto context = std::make_shared<Http2Context>();
    context->streams = std::make_shared<EchoFactory>(&world_);
    context->wrong_protocol = "this port speaks HTTP/2";
    const auto make = [&](ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream) {
      auto made = std::make_shared<Http2Connection>(set, std::move(socket), std::move(stream), 1, context);
      connection_ = made;
      return made;
    };
    return tcp ? connect_tcp(make) : connect(make);
  }
  std::uint32_t sweeps() {
    std::uint32_t count = 0;
    loop_.run_and_wait([&] { count = set_->sweeps(); });
    return count;
  }
  // In the loop.
  void with_stream(const std::string& path, const std::function<void(EchoStream&)>& work) {
    eventually([&] { return world_.by_path.contains(path); }, path);
    loop_.run_and_wait([&] { work(*world_.by_path.at(path)); });
  }

  EchoStream::World world_;
  std::weak_ptr<Connection> connection_;
};

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

TEST_F(Http2ConnectionTest, ReusesTheStreamsThatAreIdle) {
  start();
  GrpcClient client(connect_http2());
  for (int i = 0; i < 100; ++i) {
    const std::string text = "request " + std::to_string(i);
    EXPECT_EQ(client.wait(client.start("/echo", text)).data, text);
  }
  loop_.run_and_wait([&] { EXPECT_LE(world_.made, 3); });
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

TEST_F(Http2ConnectionTest, AClientIsStoppedByTheWindowThatIsNotOpened) {
  start();
  GrpcClient client(connect_http2());
  constexpr std::size_t kWindow = 4U << 20U;
  const std::int32_t stream = client.start("/wait", std::string(kWindow + 1'000'000, 'x'));
  client.run_until([&] {
    std::size_t received = 0;
    loop_.run_and_wait([&] {
      const auto found = world_.by_path.find("/wait");
      if (found != world_.by_path.end()) received = found->second->received;
    });
    return received == kWindow;
  });
  for (int i = 0; i < 3; ++i) client.run_until([&, turns = 0]() mutable { return ++turns > 3; });
  with_stream("/wait", [&](EchoStream& waiting) {
    EXPECT_EQ(waiting.received, kWindow);
    waiting.host->consume(&waiting, waiting.received);
  });
  EXPECT_EQ(client.wait(stream).reset, 0U);
  loop_.run_and_wait([&] { EXPECT_EQ(world_.log, std::vector<std::string>{"closed /wait"}); });
}

TEST_F(Http2ConnectionTest, ABodyGoesOnWhenThereIsMoreOfIt) {
  start();
  GrpcClient client(connect_http2());
  const std::int32_t stream = client.start("/pieces", "");
  with_stream("/pieces", [](EchoStream& pieces) { pieces.answer(false); });
  client.run_until([&] { return !client.reply(stream).headers.empty(); });
  EXPECT_EQ(client.reply(stream).data, "");
  with_stream("/pieces", [](EchoStream& pieces) {
    pieces.body += "first ";
    pieces.host->resume_body(&pieces);
  });
  client.run_until([&] { return client.reply(stream).data == "first "; });
  EXPECT_FALSE(client.reply(stream).closed);
  with_stream("/pieces", [](EchoStream& pieces) {
    pieces.body += "and last";
    pieces.complete = true;
    pieces.host->resume_body(&pieces);
  });
  EXPECT_EQ(client.wait(stream).data, "first and last");
  EXPECT_EQ(client.reply(stream).trailers.at("x-trailer"), "the end");
}

TEST_F(Http2ConnectionTest, AClientWhoseAnswerIsCompleteNeedNotGoOnSending) {
  start();
  GrpcClient client(connect_http2());
  const std::int32_t stream = client.start("/early", "the beginning", {}, true);
  const GrpcReply& reply = client.wait(stream);
  EXPECT_EQ(reply.data, "already answered");
  EXPECT_EQ(reply.reset, 0U) << "a reset without an error";
}

TEST_F(Http2ConnectionTest, AStreamMayEndItself) {
  start();
  GrpcClient client(connect_http2());
  const std::int32_t stream = client.start("/pieces", "");
  with_stream("/pieces", [](EchoStream& pieces) { pieces.host->reset(&pieces, 8); });
  EXPECT_EQ(client.wait(stream).reset, 8U);
  EXPECT_EQ(client.wait(client.start("/echo", "others go on")).data, "others go on");
}

TEST_F(Http2ConnectionTest, WhatIsHeldOutlivesItsClientAndIsNotReused) {
  start();
  {
    GrpcClient client(connect_http2());
    client.start("/pieces", "");
    EchoStream* first = nullptr;
    with_stream("/pieces", [&](EchoStream& held) {
      held.host->hold(&held);
      first = &held;
    });
    client.reset(1);
    eventually([&] { return world_.log == std::vector<std::string>{"closed /pieces"}; }, "the client's reset");
    EXPECT_EQ(client.wait(client.start("/echo", "another")).data, "another");
    loop_.run_and_wait([&] {
      EXPECT_NE(world_.by_path.at("/echo"), first);
      EXPECT_FALSE(first->is_open());
    });
  }
  eventually([&] { return set_->size() == 0; }, "the end of the connection");
  loop_.run_and_wait([&] {
    EXPECT_FALSE(connection_.expired()) << "a stream is held";
    EchoStream* held = world_.by_path.at("/pieces");
    held->host->resume_body(held);  // of no effect
    held->host->consume(held, 1);
    held->host->let_go(held);
  });
  eventually([&] { return connection_.expired(); }, "the end of the object");
}

TEST_F(Http2ConnectionTest, AClosingPortAbortsWhatIsOpen) {
  start();
  GrpcClient client(connect_http2());
  const std::int32_t stream = client.start("/pieces", "");
  with_stream("/pieces", [](EchoStream&) {});
  loop_.run_and_wait([&] { set_->end_if([](const Connection&) { return true; }); });
  client.run_until([&] { return client.ended(); });
  EXPECT_EQ(client.reply(stream).headers.at("x-large"), "aborted");
  EXPECT_TRUE(client.going_away());
  loop_.run_and_wait([&] { EXPECT_EQ(world_.log.front(), "aborted: the server is closing this port"); });
}

TEST_F(Http2ConnectionTest, AnswersTheCallsThatAClientHasEndedBeforeItsConnection) {
  start();
  for (const bool tcp : {false, true}) {
    loop_.run_and_wait([&] {
      world_.by_path.clear();
      world_.log.clear();
    });
    GrpcClient client(connect_http2(tcp));
    const std::int32_t slow = client.start("/pieces", "");
    const std::int32_t open = client.start("/echo", "never ended", {}, true);
    with_stream("/echo", [](EchoStream&) {});
    client.socket().end();
    EXPECT_EQ(client.wait(open).headers.at("x-large"), "aborted");
    with_stream("/pieces", [](EchoStream& stream) {
      stream.body = "much later";
      stream.complete = true;
      stream.answer(false);
    });
    client.run_until([&] { return client.ended(); });
    EXPECT_EQ(client.reply(slow).data, "much later");
    EXPECT_EQ(client.reply(slow).trailers.at("x-trailer"), "the end");
    eventually([&] { return connection_.expired(); }, "the end");
    loop_.run_and_wait([&] {
      EXPECT_EQ(world_.log.front(), "aborted: the client has ended its side of the connection within the call");
    });
  }
}

TEST_F(Http2ConnectionTest, AClientThatHasGoneCancelsItsCalls) {
  start({std::chrono::milliseconds(20), 100'000});
  for (const bool tcp : {false, true}) {
    for (const bool at_once : {false, true}) {
      GrpcClient client(connect_http2(tcp));
      client.start("/pieces", "");
      with_stream("/pieces", [](EchoStream&) {});
      if (!at_once) {
        client.socket().end();
        client.run_until([&] { return client.pings() > 0; });
      }
      client.socket().close();
      eventually([&] { return connection_.expired(); }, "the end");
      loop_.run_and_wait([&] {
        EXPECT_EQ(world_.log.back(), "closed /pieces");
        world_.by_path.clear();
      });
    }
  }
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

// Its process stands still, or its machine has gone.
TEST_F(Http2ConnectionTest, EndsAClientThatDoesNotAnswerAPing) {
  start({std::chrono::milliseconds(100), 6});
  GrpcClient client(connect_http2());
  EXPECT_EQ(client.wait(client.start("/echo", "once")).data, "once");
  const std::int32_t waiting = client.start("/pieces", "held");
  with_stream("/pieces", [](EchoStream&) {});
  eventually([&] { return connection_.expired(); }, "the end");
  client.run_until([] { return false; });
  EXPECT_TRUE(client.ended());
  EXPECT_FALSE(client.reply(waiting).closed);
  EXPECT_EQ(client.pings(), 1);
}

}  // namespace
}  // namespace servoir::http
