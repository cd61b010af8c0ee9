// Requests on their way in and out: the scheduler's steps that queue, answer, fail and expire them.
#include <algorithm>

#include "schedule/scheduler_impl.h"

namespace servoir {
namespace {

// Answered requests may stay queued until their turn; beyond this number of instances they are swept out.
constexpr std::uint64_t kMaxStale = 4096;

}  // namespace

Status Scheduler::Impl::stage_failure(const Request& request, std::uint32_t stage, Code code, std::string_view text) {
  const Method& method = *request.method;
  const StageSpec& spec = method.spec->stages[stage];
  std::string message = "Call " + stage_label(*method.servable, spec) + " Failed, method '" + method.spec->name +
                        "', stage " + std::to_string(stage + 1) + ": ";
  message += text;
  return {code, std::move(message)};
}

void Scheduler::Impl::submit(const std::shared_ptr<Request>& request, Deferred* later) {
  Request::Progress& progress = request->progress;
  if (!progress.internal) {
    ++enqueued;  // answer() takes it off again
    if (enqueued > max_enqueued) {
      fail(request,
           Status::ResourceExhausted("too many requests: " + std::to_string(max_enqueued) +
                                     " are waiting for their answer, which is the limit "
                                     "(set_max_enqueued_requests); try again later"),
           later);
      return;
    }
  }
  if (!servables.contains(request->method->servable_id)) {
    fail(request,
         Status::Unavailable("servable '" + request->method->servable->name + "', version " +
                             std::to_string(request->method->servable->version) + " is not available any more"),
         later);
    return;
  }
  if (request->deadline != Clock::time_point::max()) {
    deadlines.emplace(request->deadline, request);
    progress.has_deadline = true;
    if (request->deadline < armed) {
      armed = request->deadline;
      later->wake = armed;
    }
  }
  std::vector<ReadyRun> runs;
  flow_start(request.get(), &runs);
  enqueue(request, runs, later);
}

void Scheduler::Impl::enqueue(const std::shared_ptr<Request>& request, std::span<const ReadyRun> runs,
                              Deferred* later) {
  for (const ReadyRun& run : runs) {
    CalleeState& callee = callee_of(*request, run.stage);
    const Clock::time_point now = Clock::now();
    const auto push = [&](std::uint32_t first, std::uint32_t count) {
      if (count == 0) return;
      callee.queue.push(request, run.stage, first, count, now, next_order);
      next_order += count;
      mark_ready(&callee);
    };
    std::uint32_t first = run.first;
    if (callee.queue.spec().kind == CalleeSpec::Kind::kModel) {
      for (std::uint32_t i = run.first; i < run.first + run.count; ++i) {
        Status fits = callee.queue.check_instance(*request, run.stage, i);
        if (fits.ok()) continue;
        push(first, i - first);
        first = i + 1;
        flow_fail(request.get(), i, stage_failure(*request, run.stage, fits.code(), fits.message()));
      }
    }
    push(first, run.first + run.count - first);
  }
  if (flow_finished(*request)) answer(request, later);
}

void Scheduler::Impl::answer(const std::shared_ptr<Request>& request, Deferred* later) {
  Request::Progress& progress = request->progress;
  if (progress.answered) return;
  progress.answered = true;
  if (!progress.internal) --enqueued;
  if (progress.has_deadline) {
    const auto [begin, end] = deadlines.equal_range(request->deadline);
    for (auto it = begin; it != end; ++it) {
      if (!it->second.owner_before(request) && !request.owner_before(it->second)) {
        deadlines.erase(it);
        break;
      }
    }
  }
  later->answered.push_back(request);
}

void Scheduler::Impl::fail(const std::shared_ptr<Request>& request, Status why, Deferred* later) {
  if (request->progress.answered) return;
  request->failure = std::move(why);
  answer(request, later);
  // Nobody reads the tensors of a failed request but the tasks that hold it.
  if (request->progress.running == 0) request->values.clear();
  stale += request->instances;
  if (stale > kMaxStale) {
    stale = 0;
    for (CalleeState* callee : ready) callee->queue.sweep();
  }
}

void Scheduler::Impl::stopped_running(const std::shared_ptr<Request>& request) {
  --request->progress.running;
  if (request->progress.running == 0 && !request->failure.ok()) request->values.clear();
}

void Scheduler::Impl::expire(Clock::time_point now, Deferred* later) {
  while (!deadlines.empty() && deadlines.begin()->first <= now) {
    const std::shared_ptr<Request> request = deadlines.begin()->second.lock();
    if (request == nullptr) {
      deadlines.erase(deadlines.begin());
      continue;
    }
    fail(request, Status::DeadlineExceeded("the request's deadline passed before it was answered"), later);
  }
  if (!deadlines.empty() && deadlines.begin()->first < armed) {
    armed = deadlines.begin()->first;
    later->wake = armed;
  }
}

}  // namespace servoir
