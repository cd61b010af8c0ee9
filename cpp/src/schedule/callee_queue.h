// CalleeQueue: the instances that wait for one callee, grouped by what may share a batch.
//
// A group holds spans whose inputs agree in dtype and shape (and, for inputs of a model that have no batch dimension,
// in content). Groups are kept in the order of their oldest span, so that the oldest instance is always served next.
// Used under the scheduler's lock only.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

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

// What a stage input looks like to the callee.
struct InputForm {
  DataType dtype = DataType::kUnknown;
  Shape row_shape;
  bool operator==(const InputForm&) const = default;
};

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

  // Whether the instance's inputs fit the callee (always, for a function); says what does not.
  [[nodiscard]] Status check_instance(const Request& request, std::uint32_t stage, std::uint32_t instance) const;
  // Queues the instances [first, first + count), all of which check_instance accepts.
  void push(const std::shared_ptr<Request>& request, std::uint32_t stage, std::uint32_t first, std::uint32_t count,
            Clock::time_point now, std::uint64_t order);
  // Puts spans of a batch that was not run back to where they were.
  void put_back(const std::vector<Span>& spans);
  // The group whose oldest span is the oldest of all; nullptr when nothing waits.
  [[nodiscard]] Group* front() { return by_age_.empty() ? nullptr : by_age_.begin()->second; }
  [[nodiscard]] bool empty() const { return by_age_.empty(); }
  [[nodiscard]] std::uint64_t waiting() const { return waiting_; }
  // Takes up to `rows` instances off the group, oldest first, leaving out those that no longer want to run. A span is
  // cut where needed.
  [[nodiscard]] std::vector<Span> take(Group* group, std::uint64_t rows);
  // Drops spans of requests that are answered.
  void sweep();
  // Removes everything; returns the requests.
  std::vector<std::shared_ptr<Request>> clear();

 private:
  Group* group_for(const Request& request, std::uint32_t stage, std::uint32_t instance);
  // The group's oldest span was of this order and is now another, or gone: files it anew, or drops it.
  void aged(Group* group, std::uint64_t old_order);
  [[nodiscard]] InputForm form_of(const Request& request, std::uint32_t stage, std::uint32_t instance,
                                  std::uint32_t input) const;
  [[nodiscard]] std::string unbatched_bytes(const Request& request, std::uint32_t stage, std::uint32_t instance) const;

  const CalleeSpec* spec_;
  std::unordered_multimap<std::uint64_t, std::unique_ptr<Group>> groups_;
  std::map<std::uint64_t, Group*> by_age_;  // order of the oldest span → group, those not empty
  std::uint64_t waiting_ = 0;
};

}  // namespace servoir
