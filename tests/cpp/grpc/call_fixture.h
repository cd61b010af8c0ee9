// GrpcCallTest: gRPC calls of every shape, with handlers of the test's own. What a handler is shown, and what its
// client gets.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpc/call.h"
#include "http/http2_connection.h"
#include "support/grpc_client.h"
#include "support/loop_fixture.h"
#include "support/payload_of_text.h"

namespace servoir::grpc {

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

}  // namespace servoir::grpc
