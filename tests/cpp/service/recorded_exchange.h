// RecordedExchange: a GET of HTTP without a connection, which keeps its answer.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "http/exchange.h"

namespace servoir::service {

inline std::string text_of(Payload payload) {
  std::string text(payload.size(), '\0');
  EXPECT_EQ(payload.read(text), text.size());
  return text;
}

class RecordedExchange final : public http::Exchange {
 public:
  explicit RecordedExchange(std::string_view target, std::optional<std::string_view> accept = std::nullopt)
      : target_(target), accept_(accept) {}

  [[nodiscard]] std::string_view method() const override { return "GET"; }
  [[nodiscard]] std::string_view target() const override { return target_; }
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const override {
    return name == "accept" ? accept_ : std::nullopt;
  }
  [[nodiscard]] std::string_view body() const override { return {}; }
  void release_body() override {}
  void add_header(std::string_view name, std::string_view value) override { headers.emplace(name, value); }
  void respond(int the_status, std::string_view content_type, Payload body,
               std::shared_ptr<MemoryShare> /*taken*/) override {
    status = the_status;
    type = content_type;
    answer = text_of(std::move(body));
  }
  [[nodiscard]] bool take_for_body(std::uint64_t /*bytes*/) override { return true; }
  [[nodiscard]] std::shared_ptr<MemoryShare> new_share() const override { return nullptr; }
  void begin(int /*status*/, std::string_view /*content_type*/) override {}
  void send(Payload /*piece*/) override {}
  void end() override {}
  [[nodiscard]] std::size_t unsent() const override { return 0; }
  void hold() override {}
  void let_go() override {}
  [[nodiscard]] bool is_live() const override { return true; }
  [[nodiscard]] bool is_late() const override { return false; }
  [[nodiscard]] EventLoop* loop() const override { return nullptr; }
  [[nodiscard]] MemoryBudget* request_budget() override { return nullptr; }

  int status = 0;
  std::string type;
  std::string answer;
  std::map<std::string, std::string> headers;

 private:
  const std::string_view target_;
  const std::optional<std::string_view> accept_;
};

}  // namespace servoir::service
