// The REST API: POST /model/NAME[/version/V]:METHOD with a JSON body, and the other way round
// /version/V/model/NAME:METHOD.
//
// Reading uses simdjson, writing std::to_chars. Belongs to one I/O thread; bodies must have simdjson's padding.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "memory/payload.h"
#include "protocol/request_builder.h"
#include "schedule/request.h"

namespace servoir {

// Bytes that must be readable behind the body (their value does not matter).
inline constexpr std::size_t kJsonPadding = 64;

struct RestTarget {
  std::string servable;
  std::uint64_t version = 0;
  std::string method;
};
// NotFound for a path without "/model/", InvalidArgument for other wrong ones; both say what the path should look like.
[[nodiscard]] Result<RestTarget> parse_rest_target(std::string_view path);

// `body` has `kJsonPadding` readable bytes behind its end.
[[nodiscard]] Result<std::shared_ptr<Request>> read_rest_request(const RestTarget& target, std::string_view body,
                                                                 Scheduler* scheduler, SlabPool* slabs);
// The same for a path that is not parsed yet; the body is checked to be JSON before the path is looked at, which is the
// contract's order.
[[nodiscard]] Result<std::shared_ptr<Request>> read_rest_request(std::string_view path, std::string_view body,
                                                                 Scheduler* scheduler, SlabPool* slabs);

// {"instances": [...]}, or {"error_msg": …} when the request or all instances alike failed. Returns the HTTP status:
// 200 if an instance succeeded, else that of the error (of the gravest).
[[nodiscard]] int write_rest_reply(const Request& request, Payload* out);
// {"error_msg": text}; returns the HTTP status for the failure.
[[nodiscard]] int write_rest_failure(const Status& failure, Payload* out);
[[nodiscard]] int http_status(Code code);

}  // namespace servoir
