// GET /metrics: the route, the forms of the text, and what it refuses.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "http/routes.h"
#include "metrics/counter.h"
#include "metrics/registry.h"
#include "service/service.h"

namespace servoir::service {
namespace {

std::string text_of(Payload payload) {
  std::string text(payload.size(), '\0');
  EXPECT_EQ(payload.read(text), text.size());
  return text;
}

// An exchange without a connection, which keeps its answer.
class RecordedExchange final : public http::Exchange {
 public:
  explicit RecordedExchange(std::optional<std::string_view> accept) : accept_(accept) {}

  [[nodiscard]] std::string_view method() const override { return "GET"; }
  [[nodiscard]] std::string_view target() const override { return "/metrics"; }
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
  [[nodiscard]] EventLoop* loop() const override { return nullptr; }
  [[nodiscard]] MemoryBudget* request_budget() override { return nullptr; }

  int status = 0;
  std::string type;
  std::string answer;
  std::map<std::string, std::string> headers;

 private:
  const std::optional<std::string_view> accept_;
};

class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest() {
    frontend.figures = &figures;
    add_metrics(frontend, &routes);
  }
  RecordedExchange get(std::optional<std::string_view> accept) const {
    RecordedExchange exchange(accept);
    const http::Routes::Match match = routes.find("GET", "/metrics");
    EXPECT_NE(match.handler, nullptr);
    if (match.handler != nullptr) match.handler->on_request(exchange);
    return exchange;
  }

  metrics::Registry figures;
  Frontend frontend;
  http::Routes routes;
  metrics::Counter eggs{metrics::Scope(&figures), {"test_eggs", "Eggs that were laid."}};
};

TEST_F(MetricsTest, ShowsWhatIsCountedNow) {
  eggs.add(2);
  EXPECT_EQ(get(std::nullopt).answer,
            "# HELP test_eggs_total Eggs that were laid.\n# TYPE test_eggs_total counter\ntest_eggs_total 2\n");
  eggs.add();
  const RecordedExchange second = get("*/*");
  EXPECT_TRUE(second.answer.ends_with("\ntest_eggs_total 3\n")) << second.answer;
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(second.type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(second.headers.at("Vary"), "Accept");
}

TEST_F(MetricsTest, SpeaksOpenMetricsToWhoPrefersIt) {
  const RecordedExchange exchange = get("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5");
  EXPECT_EQ(exchange.status, 200);
  EXPECT_EQ(exchange.type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
  EXPECT_EQ(exchange.answer,
            "# HELP test_eggs Eggs that were laid.\n# TYPE test_eggs counter\ntest_eggs_total 0\n# EOF\n");
}

TEST_F(MetricsTest, RefusesOtherMethodsInPlainText) {
  const http::Routes::Match match = routes.find("POST", "/metrics");
  EXPECT_EQ(match.handler, nullptr);
  EXPECT_NE(match.allow.find("GET"), std::string::npos);
  ASSERT_NE(match.errors, nullptr);
  Payload body;
  match.errors->write(match.refusal, &body);
  EXPECT_EQ(match.errors->content_type(), "text/plain; charset=utf-8");
  EXPECT_EQ(text_of(std::move(body)), std::string(match.refusal.message()) + "\n");
}

}  // namespace
}  // namespace servoir::service
