// Connect: what makes a connection of an accepted socket, by the listener's protocol.
//
// A Connect may be called in any loop; what it was made with outlives it and its connections.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "grpc/routes.h"
#include "http/routes.h"
#include "memory/memory_budget.h"
#include "net/connection.h"
#include "net/tls_stream.h"
#include "server/server.h"

namespace servoir {

// Null if there is no memory for the connection.
using Connect = std::function<std::shared_ptr<Connection>(ConnectionSet*, WatchedFd)>;

struct ListenerTraits {
  std::uint32_t number = 0;
  Protocol protocol = Protocol::kGrpc;
  std::uint64_t max_message_bytes = 0;
  std::shared_ptr<const TlsContext> secure;  // null: connections are in the clear
};
struct Served {
  const grpc::Routes* grpc_routes = nullptr;
  const http::Routes* http_routes = nullptr;
  MemoryBudget* rest_budget = nullptr;
};
[[nodiscard]] Connect make_connect(const ListenerTraits& listener, const Served& served);

// For texts.
[[nodiscard]] std::string_view name_of(Protocol protocol);
// As TLS negotiates it.
[[nodiscard]] std::string_view alpn_of(Protocol protocol);

}  // namespace servoir
