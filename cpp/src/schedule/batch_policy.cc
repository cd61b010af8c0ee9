#include "schedule/batch_policy.h"

namespace servoir {

BatchDecision decide(const QueueSnapshot& queue) {
  if (queue.waiting == 0) return BatchDecision::kHold;
  const bool full = queue.waiting >= queue.max_batch;
  if (queue.lane_tasks == 0) {
    return full || queue.oldest_age >= queue.max_delay ? BatchDecision::kClose : BatchDecision::kDelay;
  }
  return full && queue.lane_tasks < kLaneDepth ? BatchDecision::kClose : BatchDecision::kHold;
}

}  // namespace servoir
