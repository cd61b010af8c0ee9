// When a batch is closed: a pure function, snapshot in, decision out.
#pragma once

#include <chrono>
#include <cstdint>

namespace servoir {

struct QueueSnapshot {
  std::uint64_t waiting = 0;  // instances that could share the batch
  std::uint64_t max_batch = 1;
  std::chrono::nanoseconds oldest_age{0};  // of the oldest of them
  std::chrono::nanoseconds max_delay{0};
  std::uint32_t lane_tasks = 0;  // tasks that the lane holds
};

enum class BatchDecision : std::uint8_t {
  kClose,  // take min(waiting, max_batch) now
  kDelay,  // a lane is idle, but the queue delay has not run out: look again at oldest + max_delay
  kHold,   // no lane is free for it
};

// One task beside the running one may wait in the ring, and only a full batch: nothing is gained by keeping that open.
inline constexpr std::uint32_t kLaneDepth = 2;

[[nodiscard]] BatchDecision decide(const QueueSnapshot& queue);

}  // namespace servoir
