#include <utility>

#include "net/grpc_method.h"

namespace servoir {

void GrpcRoutes::add(std::string path, std::unique_ptr<GrpcMethod> method) {
  methods_.insert_or_assign(std::move(path), std::move(method));
}

const GrpcMethod* GrpcRoutes::find(std::string_view path) const {
  const auto found = methods_.find(path);
  return found == methods_.end() ? nullptr : found->second.get();
}

bool GrpcRoutes::has_service(std::string_view service) const {
  for (const auto& [path, method] : methods_) {
    const std::string_view full(path);
    if (full.substr(1, full.rfind('/') - 1) == service) return true;
  }
  return false;
}

}  // namespace servoir
