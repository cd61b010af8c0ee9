// GET /metrics: the server's figures as text for scrapers, in the form that the client's Accept header prefers.

#include <memory>
#include <utility>

#include "metrics/text_form.h"
#include "service/plain_errors.h"
#include "service/service.h"

namespace servoir::service {
namespace {

class MetricsHandler final : public http::HttpHandler {
 public:
  explicit MetricsHandler(const metrics::Registry* figures) : figures_(figures) {}

  void on_request(http::Exchange& exchange) const override {
    const metrics::TextForm form = metrics::text_form_for(exchange.header("accept").value_or(""));
    Payload body;
    metrics::write_metrics(*figures_, form, &body);
    exchange.add_header("Vary", "Accept");
    exchange.respond(200, metrics::content_type(form), std::move(body));
  }

 private:
  const metrics::Registry* const figures_;
};

}  // namespace

void add_metrics(const Frontend& frontend, http::Routes* routes) {
  static const PlainErrors errors;
  routes->add("GET", "/metrics", std::make_unique<MetricsHandler>(frontend.figures), &errors);
}

}  // namespace servoir::service
