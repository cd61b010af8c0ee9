// Http2ConnectionTest: Http2Connection with streams of the test's own, asked by nghttp2's client session.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http/http2_connection.h"
#include "support/grpc_client.h"
#include "support/loop_fixture.h"

namespace servoir::http {

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
    int ended = 0;
    std::map<std::string, EchoStream*> by_path;
    std::vector<std::string> log;
  };
  EchoStream(StreamHost* its_host, World* its_world) : host(its_host), world(its_world) {}
  ~EchoStream() override { ++world->ended; }
  EchoStream(const EchoStream&) = delete;
  EchoStream& operator=(const EchoStream&) = delete;

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

}  // namespace servoir::http
