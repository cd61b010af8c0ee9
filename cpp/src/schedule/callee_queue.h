// CalleeQueue: the instances that wait for one callee, by the priority of their requests.
//
// The lowest number that waits begins the next batch, which is filled up with instances of other priorities that may
// share it. A priority that enough batches of lower numbers have overtaken comes first once, so none waits for ever.
// It is used under its scheduler's lock only.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "schedule/group_queue.h"

namespace servoir {

class CalleeQueue {
 public:
  using Group = GroupQueue::Group;
  // So many batches may pass a priority.
  static constexpr std::uint32_t kMostPassed = 8;

  // The instances of one priority.
  struct Level {
    Level(std::uint32_t number, const CalleeSpec* spec) : priority(number), queue(spec) {}
    // Smaller comes first.
    [[nodiscard]] std::uint32_t urgency() const { return passed >= kMostPassed ? 0 : priority + 1; }

    const std::uint32_t priority;
    std::uint32_t passed = 0;  // batches of lower numbers that were posted to its lanes while it waited
    GroupQueue queue;
  };

  explicit CalleeQueue(const CalleeSpec* spec) : spec_(spec) {}

  [[nodiscard]] const CalleeSpec& spec() const { return *spec_; }
  // Queues a run. Its instances are numbered by age from `order` on.
  void push(const std::shared_ptr<Request>& request, const AlikeRun& run, Clock::time_point now, std::uint64_t order);
  // Puts the spans of a batch that was not run back to their places.
  void put_back(const std::vector<Span>& spans);
  [[nodiscard]] bool empty() const { return waiting() == 0; }
  // Any thread may ask.
  [[nodiscard]] std::uint64_t waiting() const { return waiting_.load(std::memory_order_relaxed); }
  // The level that comes first, or the first of those after this one. nullptr if nothing waits there.
  [[nodiscard]] Level* first() const { return next(nullptr); }
  [[nodiscard]] Level* next(const Level* after) const;
  // Instances of all levels that may share a batch with the group.
  [[nodiscard]] std::uint64_t alike(const Group& group) const;
  // At most so many instances go before the next one of this priority and sender.
  [[nodiscard]] std::uint64_t before(std::uint32_t priority, const void* sender) const;
  // A batch of up to `rows` instances, begun by the group of the level, without those that no longer want to run, and
  // without those that are `too_late`, which are appended to `late`. `arrival`: of a request that comes now.
  [[nodiscard]] std::vector<Span> take(Level* level, Group* group, std::uint64_t rows, std::uint64_t arrival,
                                       const TooLate& too_late, std::vector<Span>* late);
  // A batch that one of this priority began was posted to a lane that offers the callee.
  void passed_by(std::uint32_t priority);
  // Drops the spans of requests that have been answered.
  void sweep();
  // Removes everything, and returns the requests.
  std::vector<std::shared_ptr<Request>> clear();

 private:
  [[nodiscard]] Level* level(std::uint32_t priority);
  void count();

  const CalleeSpec* spec_;
  std::vector<std::unique_ptr<Level>> levels_;  // of the priorities that have been used, by their numbers
  std::atomic<std::uint64_t> waiting_{0};       // changed under the scheduler's lock only
};

}  // namespace servoir
