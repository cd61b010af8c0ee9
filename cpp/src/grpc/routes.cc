#include "grpc/routes.h"

#include <utility>

namespace servoir::grpc {

void Routes::add(std::string path, std::unique_ptr<Handler> handler) {
  handlers_.insert_or_assign(std::move(path), std::move(handler));
}

const Handler* Routes::find(std::string_view path) const {
  const auto found = handlers_.find(path);
  return found == handlers_.end() ? nullptr : found->second.get();
}

bool Routes::has_service(std::string_view service) const {
  for (const auto& [path, handler] : handlers_) {
    const std::string_view full(path);
    if (full.substr(1, full.rfind('/') - 1) == service) return true;
  }
  return false;
}

std::string Routes::listed() const {
  std::string text;
  std::size_t left = handlers_.size();
  for (const auto& [path, handler] : handlers_) {
    text += path;
    --left;
    if (left > 0) text += left == 1 ? " and " : ", ";
  }
  return text;
}

}  // namespace servoir::grpc
