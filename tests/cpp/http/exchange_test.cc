// What an exchange makes of its target, and what a handler and a writer of errors do unless they say otherwise.
#include "http/exchange.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace servoir::http {
namespace {

class Asked final : public Exchange {
 public:
  explicit Asked(std::string_view target) : target_(target) {}
  std::string_view method() const override { return "GET"; }
  std::string_view target() const override { return target_; }
  std::optional<std::string_view> header(std::string_view /*name*/) const override { return std::nullopt; }
  std::string_view body() const override { return {}; }
  void release_body() override {}
  void add_header(std::string_view /*name*/, std::string_view /*value*/) override {}
  bool take_for_body(std::uint64_t /*bytes*/) override { return true; }
  using Exchange::respond;
  void respond(int answer_status, std::string_view /*content_type*/, Payload answer,
               std::shared_ptr<MemoryShare> answer_taken) override {
    status = answer_status;
    size = answer.size();
    taken = std::move(answer_taken);
  }
  std::shared_ptr<MemoryShare> new_share() const override { return nullptr; }
  void begin(int /*status*/, std::string_view /*content_type*/) override {}
  void send(Payload /*piece*/) override {}
  void end() override {}
  std::size_t unsent() const override { return 0; }
  void hold() override {}
  void let_go() override {}
  bool is_live() const override { return true; }
  bool is_late() const override { return false; }
  EventLoop* loop() const override { return nullptr; }
  MemoryBudget* request_budget() override { return nullptr; }
  void set_parameter(std::size_t index, std::string_view value) { parameters_.at(index) = value; }

  int status = 0;
  std::uint64_t size = 0;
  std::shared_ptr<MemoryShare> taken;

 private:
  std::string_view target_;
};

TEST(Exchange, SplitsATargetIntoPathAndQuery) {
  struct Row {
    std::string_view target, path, query;
  };
  const Row rows[] = {
      {"/", "/", ""},
      {"/a/b", "/a/b", ""},
      {"/a?x=1", "/a", "x=1"},
      {"/a?", "/a", ""},
      {"/a?x=1?y=2", "/a", "x=1?y=2"},
      {"/a%3Fb?c", "/a%3Fb", "c"},
      {"*", "*", ""},
      {"", "", ""},
      {"?x", "", "x"},
      // The absolute form, which is for proxies.
      {"http://host/a/b", "/a/b", ""},
      {"http://host/a?x=1", "/a", "x=1"},
      {"http://host", "/", ""},
      {"http://host?x=1", "/", "x=1"},
      {"https://host:8080/a://b", "/a://b", ""},
      // A query may have what looks like a scheme, and a path that begins with '/' has none.
      {"/a?to=http://other/b", "/a", "to=http://other/b"},
      {"/http://other/b", "/http://other/b", ""},
      // Neither form.
      {"a/b", "a/b", ""},
      {"host:443", "host:443", ""},
  };
  for (const Row& row : rows) {
    const Asked asked(row.target);
    EXPECT_EQ(asked.path(), row.path) << row.target;
    EXPECT_EQ(asked.query(), row.query) << row.target;
  }
}

TEST(Exchange, AnAnswerIsTakenWithoutMemoryOfItsOwn) {
  Asked asked("/");
  Payload body;
  body.append("text");
  asked.respond(404, "text/plain", std::move(body));
  EXPECT_EQ(asked.status, 404);
  EXPECT_EQ(asked.size, 4U);
  EXPECT_EQ(asked.taken, nullptr);
}

TEST(Exchange, ParametersAreInTheirOrder) {
  Asked asked("/models/add/versions/1");
  asked.set_parameter(0, "add");
  asked.set_parameter(1, "1");
  EXPECT_EQ(asked.parameter(0), "add");
  EXPECT_EQ(asked.parameter(1), "1");
}

}  // namespace
}  // namespace servoir::http
