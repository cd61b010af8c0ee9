// GroupQueue: the instances of one priority that wait for one callee, grouped by what may share a batch.
//
// A group holds spans whose inputs agree in dtype and shape (and, for inputs of a model that have no batch dimension,
// in content). Spans, and groups by their first span, are kept in the order of their turns, so that the sender whose
// turn it is begins the next batch. It is used under its scheduler's lock only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/recycled.h"
#include "request/form.h"
#include "request/graph.h"
#include "schedule/rounds.h"
#include "schedule/span.h"

namespace servoir {

// Whether a request can no longer be answered in time, for all that is known.
using TooLate = std::function<bool(const Span&)>;

class GroupQueue {
 public:
  // What the instances of a group have in common.
  struct Form {
    std::uint64_t hash = 0;
    std::vector<InputForm> inputs;
    std::string unbatched;  // bytes of the inputs without batch dimension
    bool operator==(const Form&) const = default;
  };
  struct ByTurn {
    bool operator()(const Span& a, const Span& b) const { return a.turn < b.turn; }
  };
  struct Group {
    Form form;
    std::multiset<Span, ByTurn, Recycled<Span>> spans;
    std::uint64_t waiting = 0;  // instances

    [[nodiscard]] const Span& first() const { return *spans.begin(); }
  };

  explicit GroupQueue(const CalleeSpec* spec);

  // Queues a run, the instances of which are numbered by age from `order` on.
  void push(const std::shared_ptr<Request>& request, const AlikeRun& run, Clock::time_point now, std::uint64_t order);
  // Puts a span that was taken and not run back to its place.
  void put_back(const Span& span);
  [[nodiscard]] bool empty() const { return by_turn_.empty(); }
  [[nodiscard]] std::uint64_t waiting() const { return waiting_; }
  // At most so many instances go before the next one of the sender.
  [[nodiscard]] std::uint64_t before(const void* sender) const { return std::min(waiting_, rounds_.before(sender)); }
  // The group whose turn it is. Only if not empty.
  [[nodiscard]] Group* front() const { return by_turn_.begin()->second; }
  // The first group of which so many instances wait, or nullptr.
  [[nodiscard]] Group* full(std::uint64_t rows) const;
  // The group of this form, or nullptr.
  [[nodiscard]] Group* find(const Form& form) const;
  // Appends up to `rows` instances of the group in the order of their turns, and drops those that no longer want to
  // run. What is `too_late`, if that is given, is not among them but appended to `late`. The group may be gone
  // afterwards.
  void take(Group* group, std::uint64_t rows, const TooLate& too_late, std::vector<Span>* taken,
            std::vector<Span>* late);
  // A batch that an instance of this round began was taken. `arrival`: of a request that comes now.
  void began(std::uint64_t round, std::uint64_t arrival) {
    rounds_.began(round);
    if (!empty() && front()->first().turn.round > round) round_since_ = arrival;
  }
  // How old the first instance is, as an arrival: what had to wait for its sender's turn is as old as its round. Only
  // if not empty.
  [[nodiscard]] std::uint64_t age() const { return std::max(front()->first().request->progress.arrival, round_since_); }
  // Drops the spans of requests that have been answered.
  void sweep();
  // Removes everything, and appends the requests.
  void clear(std::vector<std::shared_ptr<Request>>* requests);

 private:
  [[nodiscard]] Group* group_for(const Request& request, const AlikeRun& run);
  void add(Group* group, Span span);
  // So many instances of the sender wait no longer.
  void gone(Group* group, const void* sender, std::uint32_t count);
  // The first span of the group, whose turn this was, has changed: files the group by its first span, or drops it.
  void refile(Group* group, Turn old);

  const CalleeSpec* spec_;
  Rounds rounds_;
  std::unordered_multimap<std::uint64_t, std::unique_ptr<Group>> groups_;  // by the hash of their form
  std::map<Turn, Group*> by_turn_;  // the groups that are not empty, by their first span
  std::uint64_t waiting_ = 0;
  std::uint64_t round_since_ = 0;  // the arrival when the round of the first began
};

}  // namespace servoir
