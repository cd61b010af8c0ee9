// When a batch is closed: a pure function from a snapshot to a decision.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace servoir {

struct QueueSnapshot {
  std::uint64_t waiting = 0;  // instances that could share the batch
  std::uint64_t max_batch = 1;
  std::chrono::nanoseconds oldest_age{0};  // how long the oldest of them has waited
  std::chrono::nanoseconds max_delay{0};
  std::uint32_t lane_tasks = 0;  // tasks that the lane holds
  bool may_post_ahead = true;
};

enum class BatchDecision : std::uint8_t {
  kClose,  // take min(waiting, max_batch) now
  kDelay,  // a lane is idle, but the queue delay has not run out: look again at oldest + max_delay
  kHold,   // no lane is free for it
};

// One task may wait in the ring next to the one that runs, and only if it is a full batch, which cannot grow any more.
inline constexpr std::uint32_t kLaneDepth = 2;

[[nodiscard]] BatchDecision decide(const QueueSnapshot& queue);

// How many instances travel together to a function that is called once for each of them. All of them are answered when
// the last is done, and no other worker can take any of them. So they are as many as run within a time that outweighs
// the trip, and a single instance while that time is unknown. `ns_per_row`: how long an instance took lately, or 0.
[[nodiscard]] std::uint64_t rows_of_a_trip(std::uint64_t max_batch, std::uint64_t ns_per_row);

// Whether a batch may be posted while the lane still runs another. With several lanes another lane may be idle sooner,
// so only short batches are posted ahead.
[[nodiscard]] bool may_post_ahead(std::size_t lanes, std::uint64_t rows, std::uint64_t ns_per_row);

}  // namespace servoir
