#include "service/service.h"

namespace servoir::service {

void add_services(const Frontend& frontend, grpc::Routes* grpc_routes, http::Routes* http_routes) {
  add_seed_grpc(frontend, grpc_routes);
  add_seed_rest(frontend, http_routes);
  add_health_grpc(frontend, grpc_routes);
  add_health_rest(frontend, http_routes);
  add_metrics(frontend, http_routes);
}

}  // namespace servoir::service
