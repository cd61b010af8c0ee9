// The answer's side of a call: messages, headers, trailers, and what waits for the client.
#include "call_fixture.h"

namespace servoir::grpc {
namespace {

using GrpcCallAnswerTest = GrpcCallTest;

TEST_F(GrpcCallAnswerTest, AnAnswerOverTheLimitIsAnError) {
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

TEST_F(GrpcCallAnswerTest, AServerStreamSendsAnyNumberOfMessages) {
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

TEST_F(GrpcCallAnswerTest, AServerStreamGoesOnWhenWhatItSentHasLeft) {
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

TEST_F(GrpcCallAnswerTest, AnAnswerThatNobodyReadsKeepsNoMoreMemoryThanItHasBytes) {
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

TEST_F(GrpcCallAnswerTest, AUnaryAnswerWaitsForTheEndOfItsRequestAndAnErrorDoesNot) {
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

TEST_F(GrpcCallAnswerTest, HeadersOfTheHandlerComeWithEveryKindOfAnswer) {
  serve("/a.B/Echo")->message = [](Call& call, std::string_view text) {
    call.add_header("x-mine", "first");
    call.add_header("x-other", "second");
    if (text.empty()) {
      call.finish(Status::NotFound("nothing"));
    } else {
      call.reply(payload(text));
    }
  };
  serve("/a.B/Stream", CallShape::kServerStream)->message = [](Call& call, std::string_view) {
    call.add_header("x-mine", "first");
    call.add_header("x-other", "second");
    call.send(payload("one"));
    call.finish(Status::Ok());
  };
  serve("/a.B/Plain");
  start();
  GrpcClient client(connect_grpc());
  const std::pair<const char*, const char*> calls[] = {{"/a.B/Echo", "text"}, {"/a.B/Echo", ""}, {"/a.B/Stream", "go"}};
  for (const auto& [path, text] : calls) {
    const GrpcReply reply = client.call(path, text);
    EXPECT_EQ(reply.headers.at(":status"), "200");
    EXPECT_EQ(reply.headers.at("content-type"), "application/grpc");
    EXPECT_EQ(reply.headers.at("x-mine"), "first");
    EXPECT_EQ(reply.headers.at("x-other"), "second");
  }
  EXPECT_FALSE(client.call("/a.B/Plain", "x").headers.contains("x-mine")) << "a later call on the same object";
}

TEST_F(GrpcCallAnswerTest, AStatusWithoutAMessageIsOneHeader) {
  serve("/a.B/Refuse")->message = [](Call& call, std::string_view) { call.finish(Status::NotFound("nothing")); };
  serve("/a.B/None", CallShape::kServerStream)->message = [](Call& call, std::string_view) {
    call.finish(Status::Ok());
  };
  start();
  GrpcClient client(connect_grpc());
  const GrpcReply refused = client.call("/a.B/Refuse", "x");
  EXPECT_EQ(refused.headers.at("grpc-status"), std::to_string(static_cast<int>(Code::kNotFound)));
  EXPECT_EQ(refused.headers.at("grpc-message"), "nothing");
  EXPECT_TRUE(refused.trailers.empty());
  const GrpcReply none = client.call("/a.B/None", "x");
  EXPECT_EQ(none.headers.at("grpc-status"), "0");
  EXPECT_FALSE(none.headers.contains("grpc-message"));
  EXPECT_EQ(none.data, "");
}

TEST_F(GrpcCallAnswerTest, AnErrorAfterMessagesIsInTheTrailers) {
  serve("/a.B/Stream", CallShape::kServerStream)->message = [](Call& call, std::string_view) {
    call.send(payload("one"));
    call.send(payload(""));
    call.finish(Status::Internal("50 % \xC3\xA4\nand more"));
  };
  start();
  GrpcClient client(connect_grpc());
  const GrpcReply reply = client.call("/a.B/Stream", "go");
  EXPECT_EQ(messages_of(reply), (std::vector<std::string>{"one", ""}));
  EXPECT_FALSE(reply.headers.contains("grpc-status"));
  EXPECT_EQ(reply.trailers.at("grpc-status"), std::to_string(static_cast<int>(Code::kInternal)));
  EXPECT_EQ(reply.trailers.at("grpc-message"), "50 %25 %C3%A4%0Aand more");
  EXPECT_FALSE(reply.trailers.contains("grpc-accept-encoding"));
}

TEST_F(GrpcCallAnswerTest, WhatIsUnsentIsCountedWithThePrefixes) {
  std::size_t before = 1;
  std::size_t after = 0;
  serve("/a.B/Stream", CallShape::kServerStream)->message = [&](Call& call, std::string_view) {
    before = call.unsent();
    call.send(payload("three"));
    call.send(payload(""));
    after = call.unsent();
    call.finish(Status::Ok());
  };
  start();
  GrpcClient client(connect_grpc());
  EXPECT_EQ(client.call("/a.B/Stream", "go").status(), 0);
  loop_.run_and_wait([&] {
    EXPECT_EQ(before, 0U);
    EXPECT_EQ(after, 2 * kGrpcPrefixBytes + 5);
  });
}

}  // namespace
}  // namespace servoir::grpc
