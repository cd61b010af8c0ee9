// What a client may say about its request in headers of HTTP or metadata of gRPC.
//
//   x-request-id   its own name for the request; the answer repeats it
//   traceparent    W3C Trace Context
//   priority       u=0 to u=7, lower first, 3 by default: the urgency of RFC 9218, section 4.1
//
// Pure functions, in the thread of the call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "grpc/call.h"
#include "http/exchange.h"
#include "request/request.h"

namespace servoir::service {

inline constexpr std::string_view kRequestId = "x-request-id";

inline std::optional<std::string_view> said_in(const http::Exchange& exchange, std::string_view name) {
  return exchange.header(name);
}
inline std::optional<std::string_view> said_in(const grpc::Call& call, std::string_view name) {
  return call.metadata(name);
}

// The urgency in a Priority header. As RFC 9218 wants it, what is not understood is left out.
inline std::uint32_t read_urgency(std::string_view header) {
  std::uint32_t urgency = RequestInfo::kUsualPriority;
  while (!header.empty()) {
    std::string_view item = header.substr(0, header.find(','));
    header.remove_prefix(std::min(header.size(), item.size() + 1));
    item.remove_prefix(std::min(item.size(), item.find_first_not_of(" \t")));
    item = item.substr(0, item.find_first_of("; \t"));
    const bool known = item.size() == 3 && item.starts_with("u=") && item[2] >= '0' && item[2] <= '7';
    if (known) urgency = static_cast<std::uint32_t>(item[2] - '0');
  }
  return urgency;
}

// `Call`: grpc::Call or http::Exchange.
template <class Call>
void read_request_info(Call& call, RequestInfo* info) {
  info->sender = call.request_budget();  // of the connection, which is what it tells apart
  if (const auto priority = said_in(call, "priority")) info->priority = read_urgency(*priority);
  if (const auto id = said_in(call, kRequestId)) info->id = *id;
  if (const auto trace = said_in(call, "traceparent")) info->traceparent = *trace;
}

// Before the answer, whatever it is.
template <class Call>
void repeat_request_id(Call& call) {
  if (const auto id = said_in(call, kRequestId)) call.add_header(kRequestId, *id);
}

}  // namespace servoir::service
