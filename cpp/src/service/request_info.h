// What a client may say of its request beside the request itself: in headers of HTTP, in metadata of gRPC.
//
//   x-request-id   its own name for the request; the answer repeats it
//   traceparent    W3C Trace Context
//
// Pure functions, in the thread of the call.
#pragma once

#include <optional>
#include <string_view>

#include "grpc/call.h"
#include "http/exchange.h"
#include "schedule/request.h"

namespace servoir::service {

inline constexpr std::string_view kRequestId = "x-request-id";

inline std::optional<std::string_view> said_in(const http::Exchange& exchange, std::string_view name) {
  return exchange.header(name);
}
inline std::optional<std::string_view> said_in(const grpc::Call& call, std::string_view name) {
  return call.metadata(name);
}

// `Call`: grpc::Call or http::Exchange.
template <class Call>
void read_request_info(const Call& call, RequestInfo* info) {
  if (const auto id = said_in(call, kRequestId)) info->id = *id;
  if (const auto trace = said_in(call, "traceparent")) info->traceparent = *trace;
}

// Before the answer, whatever it is.
template <class Call>
void repeat_request_id(Call& call) {
  if (const auto id = said_in(call, kRequestId)) call.add_header(kRequestId, *id);
}

}  // namespace servoir::service
