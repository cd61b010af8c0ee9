// The request's side of a call: what a handler is shown, and when a call ends.
#include "call_fixture.h"

namespace servoir::grpc {
namespace {

TEST_F(GrpcCallTest, AUnaryCallTakesAMessageOfAnySizeInAnyPieces) {
  serve("/a.B/Echo");
  start();
  GrpcClient client(connect_grpc());
  for (const std::size_t bytes : {0U, 1U, 100U, 16384U, 16385U, 3'000'000U}) {
    std::string message(bytes, '\0');
    for (std::size_t i = 0; i < bytes; ++i) message[i] = static_cast<char>(i * 7 + i / 999);
    EXPECT_TRUE(client.call("/a.B/Echo", message).message() == message) << bytes;
    const std::string framed = GrpcClient::framed(message);
    const std::int32_t stream = client.start("/a.B/Echo", framed.substr(0, 3), {}, true);
    for (std::size_t at = 3; at < framed.size(); at += 700'001) {
      client.add(stream, std::string_view(framed).substr(at, 700'001), at + 700'001 >= framed.size());
    }
    const GrpcReply& reply = client.wait(stream);
    EXPECT_EQ(reply.status(), 0) << reply.text();
    EXPECT_TRUE(reply.message() == message) << bytes;
  }
}

TEST_F(GrpcCallTest, TellsWhichMethodsThereAre) {
  serve("/a.B/Echo");
  serve("/a.B/Other");
  start();
  GrpcClient client(connect_grpc());
  const GrpcReply reply = client.call("/a.B/Nothing", "x");
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kUnimplemented));
  EXPECT_EQ(reply.text(), "there is no method /a.B/Nothing; this server has /a.B/Echo and /a.B/Other");
  EXPECT_EQ(reply.headers.at("grpc-accept-encoding"), "identity");
}

TEST_F(GrpcCallTest, ASecondMessageOfAUnaryCallIsAnErrorOfTheCall) {
  serve("/a.B/Echo");
  start();
  GrpcClient client(connect_grpc());
  const GrpcReply reply = client.wait(client.start("/a.B/Echo", GrpcClient::framed("one") + GrpcClient::framed("two")));
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kInternal));
  EXPECT_TRUE(has(reply.text(), "a second message")) << reply.text();
  EXPECT_EQ(reply.data, "") << "the answer that was ready is not sent";
}

TEST_F(GrpcCallTest, AHandlerMayTakeLessThanItsListener) {
  serve("/a.B/Small")->largest = 10;
  serve("/a.B/Large");
  start();
  GrpcClient client(connect_grpc(1000));
  EXPECT_EQ(client.call("/a.B/Small", "0123456789").status(), 0);
  GrpcReply reply = client.call("/a.B/Small", "0123456789+");
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kResourceExhausted));
  EXPECT_TRUE(has(reply.text(), "(11 vs. 10 for this method)")) << reply.text();
  reply = client.call("/a.B/Large", std::string(1001, 'x'));
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kResourceExhausted));
  EXPECT_TRUE(has(reply.text(), "(1001 vs. 1000)")) << reply.text();
  EXPECT_TRUE(has(reply.text(), "the_limit")) << reply.text();
}

TEST_F(GrpcCallTest, ALargeMessageIsReceivedWhereItsSinkWantsIt) {
  serve("/a.B/Place")->places = true;
  start();
  GrpcClient client(connect_grpc());
  std::string message(8U << 20U, '\0');
  for (std::size_t i = 0; i < message.size(); ++i) message[i] = static_cast<char>('a' + (i * 7 + i / 999) % 20);
  const GrpcReply& reply = client.wait(client.start("/a.B/Place", GrpcClient::framed(message)));
  EXPECT_EQ(reply.status(), 0) << reply.text();
  EXPECT_TRUE(reply.message() == message);
  client.send_irregularly(3);
  const GrpcReply& again = client.wait(client.start("/a.B/Place", GrpcClient::framed(message)));
  EXPECT_EQ(again.status(), 0) << again.text();
  EXPECT_TRUE(again.message() == message);
}

TEST_F(GrpcCallTest, ASinkThatFailsEndsTheCallAtOnce) {
  serve("/a.B/Place")->places = true;
  start();
  GrpcClient client(connect_grpc());
  std::string message(1U << 20U, 'a');
  message[300'000] = '!';
  const std::int32_t stream = client.start("/a.B/Place", GrpcClient::framed(message).substr(0, 500'000), {}, true);
  const GrpcReply& reply = client.wait(stream);
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kInvalidArgument)) << "without the rest of the message";
  EXPECT_EQ(reply.text(), "there is a '!'");
}

TEST_F(GrpcCallTest, ABidirectionalCallAnswersEachMessageAsItComes) {
  Scripted* handler = serve("/a.B/Talk", CallShape::kBidirectional);
  handler->message = [](Call& call, std::string_view text) { call.send(payload("re: " + std::string(text))); };
  handler->half_close = [](Call& call) { call.finish(Status::Ok()); };
  start();
  GrpcClient client(connect_grpc());
  const std::int32_t stream = client.start("/a.B/Talk", "", {}, true);
  const std::string large(50'000, 'x');
  std::vector<std::string> wanted;
  for (const std::string& text : {std::string("one"), large, std::string(), std::string("four")}) {
    client.add(stream, GrpcClient::framed(text), false);
    wanted.push_back("re: " + text);
    client.run_until([&] { return messages_of(client.reply(stream)) == wanted; });
    EXPECT_FALSE(client.reply(stream).closed);
  }
  client.add(stream, "", true);
  const GrpcReply& reply = client.wait(stream);
  EXPECT_EQ(reply.status(), 0) << reply.text();
  EXPECT_EQ(messages_of(reply), wanted);
}

TEST_F(GrpcCallTest, APausedCallStopsItsClientByTheWindow) {
  constexpr std::size_t kMessage = 500'000;
  constexpr std::size_t kCount = 24;  // together much more than the window of 4 MiB
  std::size_t got = 0;
  Scripted* handler = serve("/a.B/Upload", CallShape::kBidirectional);
  handler->message = [&](Call& call, std::string_view text) {
    call_ = &call;
    got += text.size();
    if (got == kMessage) call.pause_input();
  };
  handler->half_close = [](Call& call) { call.finish(Status::Ok()); };
  start();
  GrpcClient client(connect_grpc());
  std::string all;
  for (std::size_t i = 0; i < kCount; ++i) all += GrpcClient::framed(std::string(kMessage, 'x'));
  const std::int32_t stream = client.start("/a.B/Upload", all);
  std::size_t before = 1;
  std::size_t now = 0;
  // Until nothing comes any more, for many turns.
  int quiet = 0;
  client.run_until([&] {
    loop_.run_and_wait([&] { now = got; });
    quiet = now == before && now > 0 ? quiet + 1 : 0;
    before = now;
    return quiet > 20;
  });
  EXPECT_LT(now, kCount * kMessage / 2) << "the client should have been stopped by its window";
  loop_.run_and_wait([&] { call_->resume_input(); });
  EXPECT_EQ(client.wait(stream).status(), 0);
  loop_.run_and_wait([&] { EXPECT_EQ(got, kCount * kMessage); });
}

TEST_F(GrpcCallTest, ShowsTheClientsOwnHeaders) {
  std::vector<std::string> seen;
  serve("/a.B/Echo")->message = [&](Call& call, std::string_view) {
    for (const char* name : {"x-first", "x-empty", "x-twice", "x-none", ":path"}) {
      seen.emplace_back(call.metadata(name).value_or("none"));
    }
    call.reply(payload(""));
  };
  start();
  GrpcClient client(connect_grpc());
  client.call("/a.B/Echo", "", {{"x-first", "1"}, {"x-empty", ""}, {"x-twice", "a"}});
  loop_.run_and_wait([&] { EXPECT_EQ(seen, (std::vector<std::string>{"1", "", "a", "none", "none"})); });
  client.call("/a.B/Echo", "");
  loop_.run_and_wait([&] { EXPECT_EQ(seen[5], "none") << "a later call on the same object"; });
}

TEST_F(GrpcCallTest, AStreamEndsAtItsDeadline) {
  serve("/a.B/Slow", CallShape::kServerStream)->message = [](Call& call, std::string_view) {
    call.send(payload("first"));
  };
  start();
  GrpcClient client(connect_grpc());
  const GrpcReply reply = client.call("/a.B/Slow", "go", {{"grpc-timeout", "50m"}});
  EXPECT_EQ(messages_of(reply), std::vector<std::string>{"first"});
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kDeadlineExceeded)) << reply.text();
  loop_.run_and_wait([&] { EXPECT_TRUE(has(log_.at(0), "deadline passed")) << log_.at(0); });
}

TEST_F(GrpcCallTest, TellsAHandlerThatItsClientHasCancelled) {
  std::weak_ptr<int> state;
  serve("/a.B/Slow")->message = [&](Call& call, std::string_view) {
    auto made = std::make_shared<int>(1);
    state = made;
    call.state = std::move(made);
    call.hold();
    call_ = &call;
  };
  start();
  GrpcClient client(connect_grpc());
  const std::int32_t stream = client.start("/a.B/Slow", GrpcClient::framed("x"));
  Call* call = kept_call();
  loop_.run_and_wait([&] { EXPECT_TRUE(call->is_live()); });
  client.reset(stream);
  eventually([&] { return !log_.empty(); }, "the cancellation");
  loop_.run_and_wait([&] {
    EXPECT_EQ(log_, std::vector<std::string>{"cancelled: the client has cancelled the call"});
    EXPECT_FALSE(call->is_live());
    EXPECT_FALSE(state.expired()) << "the call is held";
    call->reply(payload("too late"));
    call->let_go();
    EXPECT_TRUE(state.expired());
  });
}

TEST_F(GrpcCallTest, ACallThatIsHeldOutlivesItsConnection) {
  serve("/a.B/Slow")->message = [&](Call& call, std::string_view) {
    call.hold();
    call_ = &call;
  };
  start();
  Call* call = nullptr;
  {
    GrpcClient client(connect_grpc());
    client.start("/a.B/Slow", GrpcClient::framed("x"));
    call = kept_call();
  }
  eventually([&] { return set_->size() == 0; }, "the end of the connection");
  loop_.run_and_wait([&] {
    EXPECT_FALSE(call->is_live());
    call->finish(Status::Ok());
    call->let_go();
  });
}

TEST_F(GrpcCallTest, EndsACallWhoseMessageDoesNotGoOn) {
  serve("/a.B/Echo");
  start({std::chrono::milliseconds(50), 10});
  GrpcClient client(connect_grpc());
  const std::int32_t stream =
      client.start("/a.B/Echo", GrpcClient::framed(std::string(1000, 'x')).substr(0, 10), {}, true);
  const GrpcReply& reply = client.wait(stream);
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kCancelled));
  EXPECT_TRUE(has(reply.text(), "does not go on")) << reply.text();
}

}  // namespace
}  // namespace servoir::grpc
