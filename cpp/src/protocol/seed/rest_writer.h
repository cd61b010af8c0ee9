// The body of a REST answer. Pure functions; the payload belongs to one thread.
#pragma once

#include <cstdint>
#include <functional>

#include "base/status.h"
#include "memory/payload.h"
#include "request/request.h"

namespace servoir::seed {

// Asked while a long answer grows: whether it may have so many bytes.
using ReplyRoom = std::function<bool(std::uint64_t bytes)>;

// {"instances": [...]}, or {"error_msg": …} if the request failed, all instances failed alike, or there is no room.
// Returns the HTTP status: 200 if an instance succeeded, else that of the error (of the gravest).
[[nodiscard]] int write_rest_reply(const Request& request, Payload* out, const ReplyRoom& room = {});
// How long the answer's text is at least, or so many bytes; without a look at the values, and quick.
[[nodiscard]] std::uint64_t least_rest_reply(const Request& request, std::uint64_t enough);
// {"error_msg": text}; returns the HTTP status for the failure.
[[nodiscard]] int write_rest_failure(const Status& failure, Payload* out);

}  // namespace servoir::seed
