// GET /health/live, whether the server answers at all, and GET /health/ready, whether requests should be sent to it:
// 200, or 503 with the reason. For load balancers and for what watches over containers.

#include <memory>
#include <string_view>
#include <utility>

#include "service/plain_errors.h"
#include "service/service.h"

namespace servoir::service {
namespace {

void respond(http::Exchange& exchange, int status, std::string_view text) {
  Payload body;
  body.append(text);
  body.append("\n");
  exchange.add_header("Cache-Control", "no-store");
  exchange.respond(status, PlainErrors::kContentType, std::move(body));
}

class LiveHandler final : public http::HttpHandler {
 public:
  void on_request(http::Exchange& exchange) const override { respond(exchange, 200, "live"); }
};

class ReadyHandler final : public http::HttpHandler {
 public:
  explicit ReadyHandler(const Frontend* frontend) : frontend_(frontend) {}

  void on_request(http::Exchange& exchange) const override {
    const std::string_view why_not = frontend_->why_not_ready();
    respond(exchange, why_not.empty() ? 200 : 503, why_not.empty() ? "ready" : why_not);
  }

 private:
  const Frontend* const frontend_;
};

}  // namespace

void add_health_rest(const Frontend& frontend, http::Routes* routes) {
  static const PlainErrors errors;
  routes->add("GET", "/health/live", std::make_unique<LiveHandler>(), &errors);
  routes->add("GET", "/health/ready", std::make_unique<ReadyHandler>(&frontend), &errors);
}

}  // namespace servoir::service
