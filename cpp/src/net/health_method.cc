// grpc.health.v1.Health/Check.
//
//   HealthCheckRequest   service = 1 string
//   HealthCheckResponse  status = 1 enum {UNKNOWN 0, SERVING 1, NOT_SERVING 2}

#include <optional>
#include <protozero/exception.hpp>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <utility>

#include "net/grpc_call.h"
#include "net/grpc_method.h"

namespace servoir {
namespace {

class HealthMethod final : public GrpcMethod {
 public:
  HealthMethod(const GrpcRoutes* routes, std::function<bool()> ready) : routes_(routes), ready_(std::move(ready)) {}

  void on_message(GrpcCall& call, std::span<const std::byte> message) const override {
    const std::optional<std::string> service = read_service(message);
    if (!service) {
      call.fail(Status::InvalidArgument("the message is not a grpc.health.v1.HealthCheckRequest"));
      return;
    }
    if (!service->empty() && !routes_->has_service(*service)) {
      call.fail(Status::NotFound("there is no service '" + *service + "'; ask with an empty name for the server"));
      return;
    }
    Payload reply;
    reply.append(std::string_view(ready_() ? "\x08\x01" : "\x08\x02", 2));
    call.reply(std::move(reply));
  }

 private:
  static std::optional<std::string> read_service(std::span<const std::byte> message) {
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

  const GrpcRoutes* routes_;
  std::function<bool()> ready_;
};

}  // namespace

std::unique_ptr<GrpcMethod> make_health_method(const GrpcRoutes* routes, std::function<bool()> ready) {
  return std::make_unique<HealthMethod>(routes, std::move(ready));
}

}  // namespace servoir
