// The streams of an HTTP/2 connection: what they ask of the session, how they are kept, and how they end.
#include "http2_fixture.h"

namespace servoir::http {
namespace {

using Http2StreamsTest = Http2ConnectionTest;

TEST_F(Http2StreamsTest, ReusesTheStreamsThatAreIdle) {
  start();
  GrpcClient client(connect_http2());
  for (int i = 0; i < 100; ++i) {
    const std::string text = "request " + std::to_string(i);
    EXPECT_EQ(client.wait(client.start("/echo", text)).data, text);
  }
  loop_.run_and_wait([&] { EXPECT_LE(world_.made, 3); });
}

TEST_F(Http2StreamsTest, AClientIsStoppedByTheWindowThatIsNotOpened) {
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

TEST_F(Http2StreamsTest, ABodyGoesOnWhenThereIsMoreOfIt) {
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

TEST_F(Http2StreamsTest, AStreamMayEndItself) {
  start();
  GrpcClient client(connect_http2());
  const std::int32_t stream = client.start("/pieces", "");
  with_stream("/pieces", [](EchoStream& pieces) { pieces.host->reset(&pieces, 8); });
  EXPECT_EQ(client.wait(stream).reset, 8U);
  EXPECT_EQ(client.wait(client.start("/echo", "others go on")).data, "others go on");
}

TEST_F(Http2StreamsTest, WhatIsHeldOutlivesItsClientAndIsNotReused) {
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

TEST_F(Http2StreamsTest, AClosingPortAbortsWhatIsOpen) {
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

TEST_F(Http2StreamsTest, AnswersTheCallsThatAClientHasEndedBeforeItsConnection) {
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

TEST_F(Http2StreamsTest, AClientThatHasGoneCancelsItsCalls) {
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

// Its process stands still, or its machine has gone.
TEST_F(Http2StreamsTest, EndsAClientThatDoesNotAnswerAPing) {
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

TEST_F(Http2StreamsTest, KeepsSomeOfTheStreamsThatWereNeededAtOnce) {
  start();
  GrpcClient client(connect_http2());
  constexpr int kAtOnce = 100;
  std::vector<std::int32_t> open;
  for (int i = 0; i < kAtOnce; ++i) open.push_back(client.start("/echo", "text", {}, true));
  int made = 0;
  client.run_until([&] {
    loop_.run_and_wait([&] { made = world_.made; });
    return made == kAtOnce;
  });
  for (const std::int32_t stream : open) client.add(stream, "", true);
  for (const std::int32_t stream : open) EXPECT_EQ(client.wait(stream).data, "text");
  eventually([&] { return world_.ended > 0; }, "the end of some");
  loop_.run_and_wait([&] { EXPECT_EQ(world_.made - world_.ended, 64); });
  EXPECT_EQ(client.wait(client.start("/echo", "again")).data, "again");
  loop_.run_and_wait([&] { EXPECT_EQ(world_.made, kAtOnce) << "a stream that was kept is used again"; });
}

TEST_F(Http2StreamsTest, OpenStreamsLookAtTheirTimeouts) {
  start({std::chrono::milliseconds(5), 100'000});
  GrpcClient client(connect_http2());
  EXPECT_EQ(client.wait(client.start("/echo", "over")).data, "over");
  loop_.run_and_wait([&] { world_.log.clear(); });
  const std::uint32_t now = sweeps();
  client.run_until([&] { return sweeps() > now + 3; });
  loop_.run_and_wait([&] { EXPECT_TRUE(world_.log.empty()) << "a stream that is idle is not asked"; });
  client.start("/pieces", "");
  eventually([&] { return !world_.log.empty() && world_.log.back() == "sweep"; }, "a look at the time-outs");
}

}  // namespace
}  // namespace servoir::http
