// The REST interface of MindSpore Serving. Its paths are found anywhere in a URL, and an unknown path is told of only
// after a body that is no JSON: so it is the fallback of the HTTP routes, asked last.

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "protocol/seed/rest_reader.h"
#include "protocol/seed/rest_writer.h"
#include "service/request_info.h"
#include "service/scheduled.h"
#include "service/service.h"

namespace servoir::service {
namespace {

static_assert(http::kBodyPadding >= kJsonPadding);

constexpr std::string_view kJson = "application/json";
// From here on a body is read, and an answer written, aside: some milliseconds.
constexpr std::size_t kLongText = 1U << 20U;
constexpr std::uint64_t kLongNumbers = kLongText / 4;  // a digit and a comma each, but most have more digits

// Asks `take` for what a text has grown by.
seed::ReplyRoom grown(std::function<bool(std::uint64_t)> take) {
  return [take = std::move(take), taken = std::uint64_t{0}](std::uint64_t bytes) mutable {
    if (!take(bytes - taken)) return false;
    taken = bytes;
    return true;
  };
}

class SeedErrors final : public http::ErrorWriter {
 public:
  int write(const Status& error, Payload* body) const override { return seed::write_rest_failure(error, body); }
};

class SeedRestHandler final : public http::HttpHandler, private Scheduled<http::Exchange> {
 public:
  explicit SeedRestHandler(const Frontend* frontend) : Scheduled(frontend) {}

  void on_request(http::Exchange& exchange) const override {
    repeat_request_id(exchange);
    const std::string_view target = exchange.target();
    const std::string_view body = exchange.body();
    MemoryBudget* const budget = exchange.request_budget();
    if (body.size() < kLongText) {
      take(exchange, read_request(target, body, budget));
      return;
    }
    using Read = std::optional<Result<std::shared_ptr<Request>>>;
    const auto read = std::make_shared<Read>();
    exchange.hold();  // so that target and body stay where they are
    frontend().aside(
        exchange.loop(), [this, target, body, budget, read] { read->emplace(read_request(target, body, budget)); },
        [this, &exchange, read] {
          if (read->has_value() && exchange.is_live()) take(exchange, std::move(**read));
          read->reset();
          exchange.let_go();
        });
  }
  void on_cancel(http::Exchange& exchange, const Status& why) const override { cancel(exchange, why); }

 private:
  [[nodiscard]] Result<std::shared_ptr<Request>> read_request(std::string_view target, std::string_view body,
                                                              MemoryBudget* connection) const {
    return seed::read_rest_request(target, body, frontend().scheduler, frontend().slabs, connection,
                                   frontend().take_nonfinite);
  }
  void take(http::Exchange& exchange, Result<std::shared_ptr<Request>> request) const {
    if (!request.ok()) {
      respond_failure(exchange, request.status());
      return;
    }
    read_request_info(exchange, &(*request)->info);
    exchange.release_body();
    submit(exchange, std::move(request).value());
  }

  void refuse(http::Exchange& exchange, const Status& why) const override {
    exchange.add_header("Retry-After", http::kRetryAfter);
    respond_failure(exchange, why);
  }
  static void respond_failure(http::Exchange& exchange, const Status& why) {
    Payload body;
    const int status = seed::write_rest_failure(why, &body);
    exchange.respond(status, kJson, std::move(body));
  }

  void write_answer(http::Exchange& exchange, const std::shared_ptr<Request>& request, bool /*last*/) const override {
    if (seed::least_rest_reply(*request, kLongNumbers) < kLongNumbers) {
      Payload body;
      const int status = seed::write_rest_reply(
          *request, &body, grown([&](std::uint64_t more) { return exchange.take_for_body(more); }));
      exchange.respond(status, kJson, std::move(body));
      return;
    }
    struct Written {
      int status = 0;
      Payload body;
      std::shared_ptr<MemoryShare> share;
    };
    const auto written = std::make_shared<Written>();
    written->share = exchange.new_share();
    exchange.hold();
    frontend().aside(
        exchange.loop(),
        [request, written] {
          written->status = seed::write_rest_reply(
              *request, &written->body, grown([&](std::uint64_t more) { return written->share->add(more); }));
        },
        [&exchange, written] {
          if (written->status != 0) exchange.respond(written->status, kJson, std::move(written->body), written->share);
          exchange.let_go();
        });
  }
};

}  // namespace

void add_seed_rest(const Frontend& frontend, http::Routes* routes) {
  static const SeedErrors errors;
  routes->set_fallback("POST", std::string(seed::kRestPathForm), std::make_unique<SeedRestHandler>(&frontend), &errors);
}

}  // namespace servoir::service
