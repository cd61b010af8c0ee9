// Routes: the table of a server's gRPC methods. Filled before the first connection; any thread may read it then.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "grpc/handler.h"

namespace servoir::grpc {

class Routes {
 public:
  // `path` is "/package.Service/Method". Replaces an earlier handler of the path.
  void add(std::string path, std::unique_ptr<Handler> handler);
  [[nodiscard]] const Handler* find(std::string_view path) const;
  [[nodiscard]] bool has_service(std::string_view service) const;  // "package.Service"
  // "/a.B/C, /a.B/D and /e.F/G": for texts.
  [[nodiscard]] std::string listed() const;

 private:
  std::map<std::string, std::unique_ptr<Handler>, std::less<>> handlers_;
};

}  // namespace servoir::grpc
