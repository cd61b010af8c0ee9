// Calls of every shape, with handlers of the test's own: what a handler is shown, and what its client gets.
#include "grpc/call.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "http/http2_connection.h"
#include "support/grpc_client.h"
#include "support/loop_fixture.h"
#include "support/payload_of_text.h"

namespace servoir::grpc {
namespace {

// Takes a message into memory of its own, in place where it can; fails when it has come to a '!'.
class PlacingSink final : public MessageSink {
 public:
  PlacingSink(std::uint64_t bytes, std::vector<std::string>* log) : memory_(bytes, '\0'), log_(log) {}
  Status feed(std::span<const std::byte> bytes) override {
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    if (text == memory_.data() + filled_) {
      in_place_ += bytes.size();
    } else {
      std::memmove(memory_.data() + filled_, text, bytes.size());
    }
    const std::string_view now(memory_.data() + filled_, bytes.size());
    filled_ += bytes.size();
    return now.find('!') == std::string_view::npos ? Status::Ok() : Status::InvalidArgument("there is a '!'");
  }
  std::span<std::byte> next_destination() const override {
    auto* memory = reinterpret_cast<std::byte*>(const_cast<char*>(memory_.data()));
    return {memory + filled_, memory_.size() - filled_};
  }
  void finish(Call& call) override {
    log_->push_back(in_place_ > memory_.size() / 2 ? "in place" : "copied");
    call.reply(payload(memory_));
  }
  void fail(Call& call, const Status& why) override { call.finish(why); }

 private:
  std::string memory_;
  std::size_t filled_ = 0;
  std::size_t in_place_ = 0;
  std::vector<std::string>* const log_;
};

// Does what the test says. All of it belongs to the loop's thread.
class Scripted final : public Handler {
 public:
  CallShape its_shape = CallShape::kUnary;
  std::uint64_t largest = UINT64_MAX;
  bool places = false;
  std::function<void(Call&, std::string_view)> message = [](Call& call, std::string_view text) {
    call.reply(payload(text));
  };
  std::function<void(Call&)> half_close;
  std::function<void(Call&)> drained;
  std::vector<std::string>* log = nullptr;

  CallShape shape() const override { return its_shape; }
  std::uint64_t max_message_bytes() const override { return largest; }
  void on_message(Call& call, std::span<const std::byte> bytes) const override {
    message(call, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  std::unique_ptr<MessageSink> open_sink(Call& call, std::uint64_t bytes) const override {
    if (places) return std::make_unique<PlacingSink>(bytes, log);
    return Handler::open_sink(call, bytes);
  }
  void on_half_close(Call& call) const override {
    if (half_close) half_close(call);
  }
  void on_drained(Call& call) const override {
    if (drained) drained(call);
  }
  void on_cancel(Call& /*call*/, const Status& why) const override {
    log->push_back("cancelled: " + std::string(why.message()));
  }
};

class GrpcCallTest : public LoopTest {
 protected:
  // Before the first connection.
  Scripted* serve(const std::string& path, CallShape shape = CallShape::kUnary) {
    auto handler = std::make_unique<Scripted>();
    handler->its_shape = shape;
    handler->log = &log_;
    Scripted* made = handler.get();
    routes_.add(path, std::move(handler));
    return made;
  }
  PlainClient connect_grpc(std::uint64_t max_message_bytes = 100U << 20U) {
    auto context = std::make_shared<http::Http2Context>();
    context->streams = make_call_factory({&routes_, max_message_bytes, "the_limit"});
    return connect([&](ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream) {
      return std::make_shared<http::Http2Connection>(set, std::move(socket), std::move(stream), 1, context);
    });
  }
  // Until the handler has kept a call.
  Call* kept_call() {
    eventually([&] { return call_ != nullptr; }, "a call");
    return call_;
  }
  // The messages of an answer, without their prefixes.
  static std::vector<std::string> messages_of(const GrpcReply& reply) {
    std::vector<std::string> all;
    std::string_view rest(reply.data);
    while (rest.size() >= kGrpcPrefixBytes) {
      std::array<std::byte, kGrpcPrefixBytes> prefix;
      std::memcpy(prefix.data(), rest.data(), prefix.size());
      const std::size_t bytes = read_grpc_prefix(prefix).bytes;
      all.emplace_back(rest.substr(kGrpcPrefixBytes, bytes));
      rest.remove_prefix(std::min(rest.size(), kGrpcPrefixBytes + bytes));
    }
    return all;
  }
  static bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

  Routes routes_;
  std::vector<std::string> log_;
  Call* call_ = nullptr;
};

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

TEST_F(GrpcCallTest, AnAnswerOverTheLimitIsAnError) {
  serve("/a.B/Double")->message = [](Call& call, std::string_view text) {
    call.reply(payload(std::string(text) + std::string(text)));
  };
  start();
  GrpcClient client(connect_grpc(1000));
  EXPECT_EQ(client.call("/a.B/Double", std::string(500, 'x')).status(), 0);
  const GrpcReply reply = client.call("/a.B/Double", std::string(501, 'x'));
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kResourceExhausted));
  EXPECT_TRUE(has(reply.text(), "the reply is larger than max (1002 vs. 1000)")) << reply.text();
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

TEST_F(GrpcCallTest, AServerStreamSendsAnyNumberOfMessages) {
  Scripted* handler = serve("/a.B/Count", CallShape::kServerStream);
  handler->message = [](Call& call, std::string_view text) {
    for (int i = 0; i < std::stoi(std::string(text)); ++i) call.send(payload("message " + std::to_string(i)));
    call.finish(Status::Ok());
    call.send(payload("after the end"));
    call.finish(Status::Internal("after the end"));
  };
  start();
  GrpcClient client(connect_grpc());
  for (const int count : {0, 1, 50}) {
    const GrpcReply reply = client.call("/a.B/Count", std::to_string(count));
    EXPECT_EQ(reply.status(), 0) << reply.text();
    const std::vector<std::string> messages = messages_of(reply);
    ASSERT_EQ(messages.size(), static_cast<std::size_t>(count));
    if (count > 0) {
      EXPECT_EQ(messages.back(), "message " + std::to_string(count - 1));
    }
  }
}

TEST_F(GrpcCallTest, AServerStreamGoesOnWhenWhatItSentHasLeft) {
  constexpr std::size_t kPiece = 200'000;
  constexpr int kPieces = 60;
  int sent = 0;
  std::size_t most = 0;
  Scripted* handler = serve("/a.B/Download", CallShape::kServerStream);
  const auto send_on = [&](Call& call) {
    while (sent < kPieces && call.unsent() < 2 * kPiece) {
      call.send(payload(std::string(kPiece, static_cast<char>('a' + sent % 26))));
      ++sent;
      most = std::max(most, call.unsent());
    }
    if (sent == kPieces) call.finish(Status::Ok());
  };
  handler->message = [&](Call& call, std::string_view) { send_on(call); };
  handler->drained = send_on;
  start();
  GrpcClient client(connect_grpc());
  const GrpcReply reply = client.call("/a.B/Download", "go");
  EXPECT_EQ(reply.status(), 0) << reply.text();
  const std::vector<std::string> messages = messages_of(reply);
  ASSERT_EQ(messages.size(), static_cast<std::size_t>(kPieces));
  for (int i = 0; i < kPieces; ++i) {
    EXPECT_TRUE(messages[static_cast<std::size_t>(i)] == std::string(kPiece, static_cast<char>('a' + i % 26))) << i;
  }
  loop_.run_and_wait([&] { EXPECT_LT(most, 4 * kPiece) << "no more was held than the handler wanted"; });
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

TEST_F(GrpcCallTest, AnAnswerThatNobodyReadsKeepsNoMoreMemoryThanItHasBytes) {
  const std::unique_ptr<Arena> arena = Arena::create(64U << 20U).value();
  // A row of a batch of 64.
  constexpr std::uint64_t kRow = 200'000;
  TensorRef row;
  row.block = arena->allocate(64 * kRow).value();
  row.offset = row.block->offset() + 7 * kRow;
  row.bytes = kRow;
  for (std::uint64_t i = 0; i < kRow; ++i) row.data()[i] = static_cast<std::byte>(i * 7 + i / 999);
  const std::string text(reinterpret_cast<const char*>(row.data()), kRow);
  serve("/a.B/Row")->message = [&](Call& call, std::string_view) {
    Payload answer;
    answer.append(row);
    row = TensorRef();
    call.reply(std::move(answer));
  };
  start({std::chrono::milliseconds(5), 100'000, 100'000});
  GrpcClient client(connect_grpc(), false);
  const std::int32_t stream = client.start("/a.B/Row", GrpcClient::framed("x"));
  client.run_until([&] { return client.reply(stream).data.size() > 60'000; });  // all that its window has room for
  eventually([&] { return arena->usage().in_use < 2 * kRow; }, "the batch's memory back");
  client.open_windows(stream, 1 << 20);
  EXPECT_TRUE(client.wait(stream).message() == text);
  eventually([&] { return arena->usage().in_use == 0; }, "all of it back");
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

TEST_F(GrpcCallTest, AUnaryAnswerWaitsForTheEndOfItsRequestAndAnErrorDoesNot) {
  serve("/a.B/Echo")->message = [](Call& call, std::string_view text) {
    if (text == "bad") {
      call.finish(Status::InvalidArgument("bad"));
    } else {
      call.reply(payload(text));
    }
  };
  start();
  GrpcClient client(connect_grpc());
  const std::int32_t open = client.start("/a.B/Echo", GrpcClient::framed("good"), {}, true);
  const std::int32_t other = client.start("/a.B/Echo", GrpcClient::framed("other"));
  EXPECT_EQ(client.wait(other).message(), "other");
  EXPECT_TRUE(client.reply(open).headers.empty()) << "something may still follow its message";
  client.add(open, "", true);
  EXPECT_EQ(client.wait(open).message(), "good");
  const std::int32_t short_of = client.start("/a.B/Echo", GrpcClient::framed("cut").substr(0, 6));
  EXPECT_TRUE(has(client.wait(short_of).text(), "the call ended inside its message: 1 of 3 bytes came"))
      << client.reply(short_of).text();
  const std::int32_t empty = client.start("/a.B/Echo", "");
  EXPECT_EQ(client.wait(empty).text(), "the call ended without a message");
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
