#include "server/connect.h"

#include <string>
#include <type_traits>
#include <utility>

#include "base/log.h"
#include "grpc/call.h"
#include "http/http1_connection.h"
#include "http/http2_connection.h"

namespace servoir {
namespace {

constexpr std::string_view kNotGrpc =
    "This port speaks gRPC over HTTP/2 without upgrade; REST has a port of its own.\n";

}  // namespace

std::string_view name_of(Protocol protocol) { return protocol == Protocol::kGrpc ? "gRPC" : "REST"; }
std::string_view alpn_of(Protocol protocol) { return protocol == Protocol::kGrpc ? "h2" : "http/1.1"; }

Connect make_connect(const ListenerTraits& listener, const Served& served) {
  const auto make_stream = [secure = listener.secure](int fd) -> std::unique_ptr<ByteStream> {
    if (secure == nullptr) return make_plain_stream(fd);
    Result<std::unique_ptr<ByteStream>> stream = secure->make_stream(fd);
    if (!stream.ok()) SERVOIR_ERROR("a connection is refused: " + std::string(stream.status().message()));
    return stream.ok() ? std::move(*stream) : nullptr;
  };
  const auto connect = [&]<class Made>(std::type_identity<Made> /*made*/, auto context) -> Connect {
    return [=, number = listener.number](ConnectionSet* set, WatchedFd socket) -> std::shared_ptr<Connection> {
      auto stream = make_stream(socket.get());
      if (stream == nullptr) return nullptr;
      return std::make_shared<Made>(set, std::move(socket), std::move(stream), number, context);
    };
  };
  if (listener.protocol == Protocol::kGrpc) {
    auto calls =
        grpc::make_call_factory({.routes = served.grpc_routes, .max_message_bytes = listener.max_message_bytes});
    return connect(
        std::type_identity<http::Http2Connection>(),
        std::make_shared<const http::Http2Context>(http::Http2Context{std::move(calls), std::string(kNotGrpc)}));
  }
  http::Http1Context context{
      .routes = served.http_routes, .max_body_bytes = listener.max_message_bytes, .budget = served.rest_budget};
  return connect(std::type_identity<http::Http1Connection>(),
                 std::make_shared<const http::Http1Context>(std::move(context)));
}

}  // namespace servoir
