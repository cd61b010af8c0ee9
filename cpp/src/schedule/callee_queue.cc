#include "schedule/callee_queue.h"

#include <algorithm>
#include <utility>

namespace servoir {

CalleeQueue::Level* CalleeQueue::level(std::uint32_t priority) {
  const auto place = std::ranges::lower_bound(levels_, priority, {}, [](const auto& of) { return of->priority; });
  if (place != levels_.end() && (*place)->priority == priority) return place->get();
  return levels_.insert(place, std::make_unique<Level>(priority, spec_))->get();
}

void CalleeQueue::count() {
  std::uint64_t waiting = 0;
  for (const auto& level : levels_) waiting += level->queue.waiting();
  waiting_.store(waiting, std::memory_order_relaxed);
}

void CalleeQueue::push(const std::shared_ptr<Request>& request, const AlikeRun& run, Clock::time_point now,
                       std::uint64_t order) {
  Level* of = level(request->info.priority);
  if (of->queue.empty()) of->passed = 0;
  of->queue.push(request, run, now, order);
  count();
}

void CalleeQueue::put_back(const std::vector<Span>& spans) {
  for (const Span& span : spans) level(span.request->info.priority)->queue.put_back(span);
  count();
}

CalleeQueue::Level* CalleeQueue::next(const Level* after) const {
  const auto place = [](const Level& level) { return std::pair(level.urgency(), level.priority); };
  Level* best = nullptr;
  for (const auto& level : levels_) {
    if (level->queue.empty() || (after != nullptr && place(*level) <= place(*after))) continue;
    if (best == nullptr || place(*level) < place(*best)) best = level.get();
  }
  return best;
}

std::uint64_t CalleeQueue::alike(const Group& group) const {
  if (levels_.size() == 1) return group.waiting;
  std::uint64_t waiting = 0;
  for (const auto& level : levels_) {
    if (const Group* same = level->queue.find(group.form)) waiting += same->waiting;
  }
  return waiting;
}

std::uint64_t CalleeQueue::before(std::uint32_t priority, const void* sender) const {
  std::uint64_t rows = 0;
  for (const auto& level : levels_) {
    if (level->priority <= priority) rows += level->queue.before(sender);
  }
  return rows;
}

std::vector<Span> CalleeQueue::take(Level* level, Group* group, std::uint64_t rows, std::uint64_t arrival,
                                    const TooLate& too_late, std::vector<Span>* late) {
  // Found before the group may go.
  std::vector<std::pair<GroupQueue*, Group*>> others;
  for (const auto& other : levels_) {
    if (other.get() == level) continue;
    if (Group* same = other->queue.find(group->form)) others.emplace_back(&other->queue, same);
  }
  std::vector<Span> taken;
  taken.reserve(std::min<std::uint64_t>(rows, group->spans.size()));
  const std::uint64_t round = group->first().turn.round;
  level->queue.take(group, rows, too_late, &taken, late);
  if (!taken.empty()) {  // else all of it had ended, and the level keeps its turn
    level->passed = 0;
    level->queue.began(round, arrival);
    for (const auto& [queue, same] : others) queue->take(same, rows - rows_of(taken), too_late, &taken, late);
  }
  count();
  return taken;
}

void CalleeQueue::passed_by(std::uint32_t priority) {
  for (const auto& level : levels_) {
    if (level->priority > priority && !level->queue.empty()) ++level->passed;
  }
}

void CalleeQueue::sweep() {
  for (const auto& level : levels_) level->queue.sweep();
  count();
}

std::vector<std::shared_ptr<Request>> CalleeQueue::clear() {
  std::vector<std::shared_ptr<Request>> requests;
  for (const auto& level : levels_) level->queue.clear(&requests);
  count();
  return requests;
}

}  // namespace servoir
