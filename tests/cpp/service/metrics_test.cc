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
#include "recorded_exchange.h"
#include "service/service.h"

namespace servoir::service {
namespace {

class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest() {
    frontend.figures = &figures;
    add_metrics(frontend, &routes);
  }
  RecordedExchange get(std::optional<std::string_view> accept) const {
    RecordedExchange exchange("/metrics", accept);
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
