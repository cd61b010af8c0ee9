// PredictReply.
//
// Pure functions; the payload belongs to one I/O thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "memory/payload.h"
#include "request/request.h"

namespace servoir::seed {

// Write the reply of a finished request, or of a message that failed before it was a request. Application errors are in
// error_msg: one entry and no instances for an error of the request, an entry for each instance otherwise. An error
// that all instances have is written as an error of the request.
void write_predict_reply(const Request& request, Payload* out);
void write_predict_failure(std::string_view servable, std::uint64_t version, std::string_view method,
                           const Status& failure, Payload* out);

}  // namespace servoir::seed
