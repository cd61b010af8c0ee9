// CalleeQueue: the instances that wait for one callee, grouped by what may share a batch.
//
// A group holds spans whose inputs agree in dtype and shape (and, for inputs of a model that have no batch dimension,
// in content). Groups are kept in the order of their oldest span, so that the oldest instance is always served next.
// It is used under its scheduler's lock only.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "schedule/form.h"
#include "schedule/graph.h"
#include "schedule/request.h"

namespace servoir {

// Consecutive instances of one request that wait for, or run in, one stage.
struct Span {
  std::shared_ptr<Request> request;
  std::uint32_t stage = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  Clock::time_point since{};  // when it was queued
  std::uint64_t order = 0;    // smaller is older
};

// The parts of the spans whose instances still want to run: they have no error, and their request is not answered.
[[nodiscard]] std::vector<Span> those_wanted(const std::vector<Span>& spans);
// Takes the first `rows` instances off the spans.
[[nodiscard]] std::vector<Span> cut_off(std::vector<Span>* spans, std::uint32_t rows);

class CalleeQueue {
 public:
  struct Group {
    std::uint64_t hash = 0;
    std::vector<InputForm> inputs;
    std::string unbatched;  // bytes of the inputs without batch dimension
    std::deque<Span> spans;
    std::uint64_t waiting = 0;  // instances

    [[nodiscard]] const Span& oldest() const { return spans.front(); }
  };

  explicit CalleeQueue(const CalleeSpec* spec) : spec_(spec) {}

  [[nodiscard]] const CalleeSpec& spec() const { return *spec_; }

  // Queues a run. Its instances are numbered by age from `order` on.
  void push(const std::shared_ptr<Request>& request, const AlikeRun& run, Clock::time_point now, std::uint64_t order);
  // Puts the spans of a batch that was not run back to their places.
  void put_back(const std::vector<Span>& spans);
  // The group whose oldest span is the oldest of all, or nullptr if nothing waits.
  [[nodiscard]] Group* front() { return by_age_.empty() ? nullptr : by_age_.begin()->second; }
  // The oldest group of which so many instances wait, or nullptr.
  [[nodiscard]] Group* full(std::uint64_t rows);
  [[nodiscard]] bool empty() const { return by_age_.empty(); }
  // Any thread may ask.
  [[nodiscard]] std::uint64_t waiting() const { return waiting_.load(std::memory_order_relaxed); }
  // Takes up to `rows` instances out of the group, oldest first, and drops those that no longer want to run. A span is
  // cut where needed.
  [[nodiscard]] std::vector<Span> take(Group* group, std::uint64_t rows);
  // Drops the spans of requests that have been answered.
  void sweep();
  // Removes everything, and returns the requests.
  std::vector<std::shared_ptr<Request>> clear();

 private:
  Group* group_for(const Request& request, const AlikeRun& run);
  // The group's oldest span, which was of this order, is gone: files the group by its next span, or drops it.
  void aged(Group* group, std::uint64_t old_order);
  void set_waiting(std::uint64_t instances) { waiting_.store(instances, std::memory_order_relaxed); }

  const CalleeSpec* spec_;
  std::unordered_multimap<std::uint64_t, std::unique_ptr<Group>> groups_;
  std::map<std::uint64_t, Group*> by_age_;  // the groups that are not empty, by the order of their oldest span
  std::atomic<std::uint64_t> waiting_{0};   // changed under the scheduler's lock only
};

}  // namespace servoir
