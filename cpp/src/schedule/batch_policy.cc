#include "schedule/batch_policy.h"

#include <algorithm>

namespace servoir {
namespace {

constexpr std::uint64_t kTripNs = 1'000'000;        // a trip to the worker costs about 1 % of this
constexpr std::uint64_t kShortBatchNs = 5'000'000;  // another lane may be left without work for this long

}  // namespace

BatchDecision decide(const QueueSnapshot& queue) {
  if (queue.waiting == 0) return BatchDecision::kHold;
  const bool full = queue.waiting >= queue.max_batch;
  if (queue.lane_tasks == 0) {
    return full || queue.oldest_age >= queue.max_delay ? BatchDecision::kClose : BatchDecision::kDelay;
  }
  return full && queue.may_post_ahead && queue.lane_tasks < kLaneDepth ? BatchDecision::kClose : BatchDecision::kHold;
}

std::uint64_t rows_of_a_trip(std::uint64_t max_batch, std::uint64_t ns_per_row) {
  if (ns_per_row == 0) return 1;
  return std::clamp<std::uint64_t>(kTripNs / ns_per_row, 1, max_batch);
}

bool may_post_ahead(std::size_t lanes, std::uint64_t rows, std::uint64_t ns_per_row) {
  return lanes <= 1 || (ns_per_row > 0 && rows <= kShortBatchNs / ns_per_row);
}

}  // namespace servoir
