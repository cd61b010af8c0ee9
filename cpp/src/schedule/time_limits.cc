// The scheduler's steps for workers that take longer for a batch than its callee allows: whoever runs the workers ends
// such a worker, and the batch is then one with which a worker died.
#include "base/text.h"
#include "schedule/version_scheduler.h"

namespace servoir {
namespace {

std::string in_seconds(std::chrono::nanoseconds time) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

}  // namespace

Clock::time_point VersionScheduler::must_end(const LaneState& lane) const {
  if (lane.overdue || lane.tasks.empty() || lane.wish || !lane.tasks.front().calls.empty()) {
    return Clock::time_point::max();
  }
  const RunningTask& task = lane.tasks.front();
  const CalleeSpec& callee = callees_[task.callee]->queue.spec();
  if (callee.time_limit == std::chrono::nanoseconds(0)) return Clock::time_point::max();
  return std::max(lane.busy_since(), lane.moved) + callee.time_limit * (callee.called_singly ? task.rows : 1);
}

void VersionScheduler::watch(const LaneState& lane, Deferred* later) { wake_at(must_end(lane), later); }

void VersionScheduler::find_overdue(Deferred* later) {
  for (const auto& [id, lane] : lanes_) {
    const Clock::time_point end = must_end(*lane);
    if (end > later->now) {
      wake_at(end, later);
      continue;
    }
    lane->overdue = true;
    const RunningTask& task = lane->tasks.front();
    const CalleeSpec& callee = callees_[task.callee]->queue.spec();
    later->overdue.emplace_back(
        id, (callee.kind == CalleeSpec::Kind::kModel ? "model " : "function ") + quoted(callee.name) + " of servable " +
                quoted(spec_->name) + " took longer for " + std::to_string(task.rows) +
                (task.rows == 1 ? " instance than " : " instances than ") +
                in_seconds(callee.time_limit * (callee.called_singly ? task.rows : 1)) + ", its time limit");
  }
}

}  // namespace servoir
