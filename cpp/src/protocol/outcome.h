// What became of a request, as every protocol's answer has to tell it. Pure functions on a request that is answered.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "request/request.h"

namespace servoir {

struct Outcome {
  // The error of the whole answer: that of the request, or the same error of all its instances. Null if there is none.
  const Status* folded = nullptr;
  std::uint32_t failed = 0;  // instances with an error, when not folded
};
[[nodiscard]] Outcome outcome_of(const Request& request);

}  // namespace servoir
