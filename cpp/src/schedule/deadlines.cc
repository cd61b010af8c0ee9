// The scheduler's steps for requests that have a deadline: those whose time has passed end, and those that could not be
// answered in time, for all that is known of how long batches take, neither wait nor run for nothing.
#include <algorithm>

#include "base/text.h"
#include "schedule/version_scheduler.h"

namespace servoir {
namespace {

using std::chrono::nanoseconds;

std::string in_ms(nanoseconds time) {
  return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(time).count()) + " ms";
}

}  // namespace

void VersionScheduler::find_shared_lanes() {
  for (const auto& callee : callees_) {
    callee->sharing.clear();
    for (const auto& other : callees_) {
      const bool only_these = std::ranges::all_of(
          other->lanes, [&](LaneState* lane) { return std::ranges::find(callee->lanes, lane) != callee->lanes.end(); });
      if (only_these && !other->lanes.empty()) callee->sharing.push_back(other->index);
    }
  }
}

void VersionScheduler::find_followers() {
  for (const MethodSpec& method : spec_->methods) {
    const std::shared_ptr<Method> made = make_method(spec_, &method, id_);
    // Of each stage, those that need its outputs at some time. They have higher numbers.
    std::vector<std::vector<std::uint32_t>> later(method.stages.size());
    for (std::size_t s = method.stages.size(); s-- > 0;) {
      const StageSpec& stage = method.stages[s];
      for (std::uint32_t value = stage.first_output; value < stage.first_output + stage.outputs; ++value) {
        for (const Consumer& consumer : made->consumers[value]) {
          later[s].push_back(consumer.stage);
          later[s].insert(later[s].end(), later[consumer.stage].begin(), later[consumer.stage].end());
        }
      }
      std::ranges::sort(later[s]);
      later[s].erase(std::ranges::unique(later[s]).begin(), later[s].end());
      std::vector<std::uint32_t>& followers = callees_[stage.callee]->followers;
      for (const std::uint32_t after : later[s]) {
        const std::uint32_t follower = method.stages[after].callee;
        if (std::ranges::find(followers, follower) == followers.end()) followers.push_back(follower);
      }
    }
  }
}

nanoseconds VersionScheduler::time_to_finish(const Method& method, std::uint32_t stage, std::uint64_t rows) {
  const std::vector<StageSpec>& stages = method.spec->stages;
  stage_times_.assign(stages.size(), {});
  for (std::size_t s = stages.size(); s-- > stage;) {
    nanoseconds longest{};
    for (std::uint32_t value = stages[s].first_output; value < stages[s].first_output + stages[s].outputs; ++value) {
      for (const Consumer& consumer : method.consumers[value]) {
        longest = std::max(longest, stage_times_[consumer.stage]);
      }
    }
    const CalleeState& callee = *callees_[stages[s].callee];
    stage_times_[s] = callee.time.of(std::min<std::uint64_t>(rows, callee.queue.spec().max_batch)) + longest;
  }
  return stage_times_[stage];
}

nanoseconds VersionScheduler::time_until_free(const LaneState& lane, Clock::time_point now) {
  if (lane.tasks.empty()) return {};
  nanoseconds left = lane.busy_since() - now;
  for (const RunningTask& task : lane.tasks) left += callees_[task.callee]->time.of(task.rows);
  return std::max(left, nanoseconds(0));
}

nanoseconds VersionScheduler::time_before(const CalleeState& callee, const Request& request, Clock::time_point now) {
  const auto shares = [&](std::uint32_t other) {
    return std::ranges::find(callee.sharing, other) != callee.sharing.end();
  };
  nanoseconds held{};
  bool idle = false;
  for (const LaneState* lane : callee.lanes) {
    idle = idle || lane->tasks.empty();
    held += time_until_free(*lane, now);
    for (const RunningTask& task : lane->tasks) {
      for (const std::uint32_t follower : callees_[task.callee]->followers) {
        if (shares(follower)) held += callees_[follower]->time.of(task.rows);
      }
    }
  }
  if (callee.lanes.empty() || (idle && callee.queue.empty())) return {};
  // Only whole batches: what is left over shares a batch with the request.
  for (const auto& first : callees_) {
    const std::uint64_t rows = first->queue.before(request.info.priority, request.info.sender);
    if (rows == 0) continue;
    const auto add = [&](std::uint32_t other) {
      mutex_.assert_held();
      if (!shares(other)) return;
      const std::uint64_t batch = callees_[other]->queue.spec().max_batch;
      held += static_cast<std::int64_t>(rows / batch) * callees_[other]->time.of(batch);
    };
    add(first->index);
    for (const std::uint32_t follower : first->followers) {
      if (follower != first->index) add(follower);
    }
  }
  return held / static_cast<std::int64_t>(callee.lanes.size());
}

Status VersionScheduler::check_deadline(const Request& request, Clock::time_point now) {
  if (request.info.deadline == Clock::time_point::max()) return {};
  const Method& method = *request.method;
  nanoseconds wait{};
  CalleeState* waited_for = nullptr;
  for (const StageSpec& stage : method.spec->stages) {
    CalleeState* callee = callees_[stage.callee].get();
    const nanoseconds before = time_before(*callee, request, now);
    if (before > wait) waited_for = callee;
    wait = std::max(wait, before);
  }
  // What need not wait is run in any case: otherwise one slow batch could have all that follow refused for ever.
  if (waited_for == nullptr) return {};
  const nanoseconds needed = wait + time_to_finish(method, 0, request.instances + waited_for->queue.waiting());
  const nanoseconds left = request.info.deadline - now;
  if (needed <= left) return {};
  waited_for->refused.add();
  return Status::ResourceExhausted("too many requests: servable " + quoted(spec_->name) + ", method '" +
                                   method.spec->name + "' would answer in about " + in_ms(needed) +
                                   ", and the request's deadline is in " + in_ms(left) +
                                   "; try again later, send less at a time, or allow more time");
}

bool VersionScheduler::too_late(const Span& span, std::uint64_t rows, Clock::time_point begin) {
  const Request& request = *span.request;
  return request.info.deadline != Clock::time_point::max() && !request.progress.answered &&
         request.info.deadline - begin < time_to_finish(*request.method, span.stage, rows);
}

void VersionScheduler::drop_late(CalleeState* callee, std::vector<Span>* late, Deferred* later) {
  for (const Span& span : std::exchange(*late, {})) {
    if (span.request->progress.answered) continue;
    callee->dropped.add();
    fail(span.request,
         Status::DeadlineExceeded("the request's deadline would have passed before it was answered, so it was not run: "
                                  "the deadline is in " +
                                  in_ms(span.request->info.deadline - later->now)),
         later);
  }
}

void VersionScheduler::expire(Deferred* later) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= later->now) {
    const std::shared_ptr<Request> request = deadlines_.begin()->second.lock();
    if (request == nullptr) {
      deadlines_.erase(deadlines_.begin());
      continue;
    }
    fail(request, Status::DeadlineExceeded("the request's deadline passed before it was answered"), later);
  }
  if (!deadlines_.empty()) wake_at(deadlines_.begin()->first, later);
}

}  // namespace servoir
