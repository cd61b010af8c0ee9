#include "protocol/outcome.h"

#include <algorithm>

namespace servoir {

Outcome outcome_of(const Request& request) {
  Outcome outcome;
  if (!request.failure.ok()) {
    outcome.folded = &request.failure;
    return outcome;
  }
  for (const Status& error : request.errors) outcome.failed += error.ok() ? 0 : 1;
  if (outcome.failed == 0 || outcome.failed != request.instances) return outcome;
  const Status& first = request.errors.front();
  const bool alike = std::ranges::all_of(request.errors, [&first](const Status& error) {
    return error.code() == first.code() && error.message() == first.message();
  });
  if (alike) outcome.folded = &first;
  return outcome;
}

}  // namespace servoir
