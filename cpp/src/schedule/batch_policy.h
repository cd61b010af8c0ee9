// When a batch is closed: a pure function, snapshot in, decision out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace servoir {

struct QueueSnapshot {
  std::uint64_t waiting = 0;  // instances that could share the batch
  std::uint64_t max_batch = 1;
  std::chrono::nanoseconds oldest_age{0};  // of the oldest of them
  std::chrono::nanoseconds max_delay{0};
  std::uint32_t lane_tasks = 0;  // tasks that the lane holds
  bool may_post_ahead = true;
};

enum class BatchDecision : std::uint8_t {
  kClose,  // take min(waiting, max_batch) now
  kDelay,  // a lane is idle, but the queue delay has not run out: look again at oldest + max_delay
  kHold,   // no lane is free for it
};

// One task beside the running one may wait in the ring, and only a full batch: nothing is gained by keeping that open.
inline constexpr std::uint32_t kLaneDepth = 2;

[[nodiscard]] BatchDecision decide(const QueueSnapshot& queue);

// Instances that travel together to a function that is called once for each of them. All of them are answered when the
// last is done, and no other worker can take one: so they are as many as run within a time that outweighs the trip, and
// one while nothing is known. `ns_per_row` is what an instance took lately, 0 when unknown.
[[nodiscard]] std::uint64_t rows_of_a_trip(std::uint64_t max_batch, std::uint64_t ns_per_row);

// Whether a batch may wait behind the one that a lane runs. With several lanes another one may be idle sooner, so only
// where a batch is short.
[[nodiscard]] bool may_post_ahead(std::size_t lanes, std::uint64_t rows, std::uint64_t ns_per_row);

}  // namespace servoir
