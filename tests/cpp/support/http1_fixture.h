// Http1ConnectionTest: connections of HTTP/1 whose handlers do what the test says.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/http1_connection.h"
#include "loop_fixture.h"
#include "payload_of_text.h"

namespace servoir::http {

// Does what the test says. The log belongs to the loop's thread.
class Scripted final : public HttpHandler {
 public:
  bool pieces = false;
  std::function<void(Exchange&)> request = [](Exchange& exchange) {
    exchange.respond(200, "text/plain", payload("ok"));
  };
  std::function<void(Exchange&)> drained;
  std::vector<std::string>* log = nullptr;

  bool takes_body_in_pieces() const override { return pieces; }
  void on_body(Exchange& /*exchange*/, std::span<const std::byte> bytes) const override {
    log->push_back("body " + std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  void on_request(Exchange& exchange) const override { request(exchange); }
  void on_drained(Exchange& exchange) const override {
    if (drained) drained(exchange);
  }
  void on_cancel(Exchange& /*exchange*/, const Status& why) const override {
    log->push_back("cancelled: " + std::string(why.message()));
  }
};

class Words final : public ErrorWriter {
 public:
  int write(const Status& error, Payload* body) const override {
    body->append("error: " + std::string(error.message()));
    return error.code() == Code::kUnavailable ? 503 : 400;
  }
  std::string_view content_type() const override { return "text/words"; }
};

class Http1ConnectionTest : public LoopTest {
 protected:
  // Before the first connection.
  Scripted* serve(const std::string& method, const std::string& pattern) {
    auto handler = std::make_unique<Scripted>();
    handler->log = &log_;
    Scripted* made = handler.get();
    routes_.add(method, pattern, std::move(handler), &errors_);
    return made;
  }
  PlainClient connect_http(std::uint64_t max_body_bytes = 1U << 20U, bool tcp = false) {
    auto context = std::make_shared<Http1Context>();
    context->routes = &routes_;
    context->max_body_bytes = max_body_bytes;
    const auto make = [&](ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream) {
      auto made = std::make_shared<Http1Connection>(set, std::move(socket), std::move(stream), 1, context);
      connection_ = made;
      return made;
    };
    return tcp ? connect_tcp(make) : connect(make);
  }
  // All of an answer with Content-Length: head and body.
  static std::string answer(PlainClient* client) {
    std::string got;
    while (true) {
      const std::size_t end = got.find("\r\n\r\n");
      if (end != std::string::npos) {
        const std::size_t length = got.find("Content-Length: ");
        const std::size_t bytes =
            length == std::string::npos || length > end ? 0 : std::stoul(got.substr(length + 16, 20));
        if (got.size() >= end + 4 + bytes) return got;
      }
      const std::string more = client->receive();
      if (more.empty()) return got;
      got += more;
    }
  }
  static std::string body_of(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }
  static bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

  Words errors_;
  Routes routes_;
  std::vector<std::string> log_;
  std::weak_ptr<Connection> connection_;
};

}  // namespace servoir::http
