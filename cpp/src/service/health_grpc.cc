// grpc.health.v1.Health/Check: SERVING when the server is ready, for "" and for each service that it has.
//
//   HealthCheckRequest   service = 1 string
//   HealthCheckResponse  status = 1 enum {UNKNOWN 0, SERVING 1, NOT_SERVING 2}
//
// Source: the protocol's definition, https://github.com/grpc/grpc-proto, grpc/health/v1/health.proto.

#include <memory>
#include <optional>
#include <protozero/exception.hpp>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <utility>

#include "grpc/call.h"
#include "service/service.h"

namespace servoir::service {
namespace {

std::optional<std::string> read_service(std::span<const std::byte> message) {
  std::string service;
  try {  // protozero reports a malformed message so; it does not leave this function
    protozero::pbf_reader reader(reinterpret_cast<const char*>(message.data()), message.size());
    while (reader.next()) {
      if (reader.tag() == 1 && reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
        service = reader.get_string();
      } else {
        reader.skip();
      }
    }
  } catch (const protozero::exception&) {
    return std::nullopt;
  }
  return service;
}

class HealthHandler final : public grpc::Handler {
 public:
  HealthHandler(const Frontend* frontend, const grpc::Routes* routes) : frontend_(frontend), routes_(routes) {}

  std::uint64_t max_message_bytes() const override { return grpc::Call::kCollectBytes; }
  void on_message(grpc::Call& call, std::span<const std::byte> message) const override {
    const std::optional<std::string> service = read_service(message);
    if (!service) {
      call.finish(Status::InvalidArgument("the message is not a grpc.health.v1.HealthCheckRequest"));
      return;
    }
    if (!service->empty() && !routes_->has_service(*service)) {
      call.finish(Status::NotFound("there is no service '" + *service + "'; ask with an empty name for the server"));
      return;
    }
    Payload reply;
    reply.append(std::string_view(frontend_->why_not_ready().empty() ? "\x08\x01" : "\x08\x02", 2));
    call.reply(std::move(reply));
  }

 private:
  const Frontend* const frontend_;
  const grpc::Routes* const routes_;
};

}  // namespace

void add_health_grpc(const Frontend& frontend, grpc::Routes* routes) {
  routes->add("/grpc.health.v1.Health/Check", std::make_unique<HealthHandler>(&frontend, routes));
}

}  // namespace servoir::service
