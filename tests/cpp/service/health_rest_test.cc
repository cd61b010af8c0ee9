// GET /health/live and /health/ready.

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "recorded_exchange.h"
#include "service/service.h"

namespace servoir::service {
namespace {

class HealthRestTest : public ::testing::Test {
 protected:
  HealthRestTest() {
    frontend.why_not_ready = [this] { return std::string_view(why_not); };
    add_health_rest(frontend, &routes);
  }
  RecordedExchange get(std::string_view target) const {
    RecordedExchange exchange(target);
    const http::Routes::Match match = routes.find("GET", target);
    EXPECT_NE(match.handler, nullptr);
    if (match.handler != nullptr) match.handler->on_request(exchange);
    return exchange;
  }

  std::string why_not;
  Frontend frontend;
  http::Routes routes;
};

TEST_F(HealthRestTest, SaysThatItIsReady) {
  const RecordedExchange ready = get("/health/ready");
  EXPECT_EQ(ready.status, 200);
  EXPECT_EQ(ready.answer, "ready\n");
  EXPECT_EQ(ready.type, "text/plain; charset=utf-8");
  EXPECT_EQ(ready.headers.at("Cache-Control"), "no-store");
}

TEST_F(HealthRestTest, SaysWhyItIsNotReadyAndLives) {
  why_not = "the server is being stopped";
  EXPECT_EQ(get("/health/ready").status, 503);
  EXPECT_EQ(get("/health/ready").answer, "the server is being stopped\n");
  EXPECT_EQ(get("/health/live").status, 200);
  EXPECT_EQ(get("/health/live").answer, "live\n");
}

}  // namespace
}  // namespace servoir::service
