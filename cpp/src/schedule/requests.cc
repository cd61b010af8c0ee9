// The scheduler's steps that queue, answer and fail requests.
#include <algorithm>

#include "base/text.h"
#include "schedule/version_scheduler.h"

namespace servoir {
namespace {

// Requests that were answered early may stay queued until their turn. They are swept out when they have more instances
// than this, and may be half of what is queued.
constexpr std::uint64_t kMostStale = 64;

}  // namespace

Status VersionScheduler::stage_failure(const Request& request, std::uint32_t stage, Code code, std::string_view text) {
  const Method& method = *request.method;
  const StageSpec& spec = method.spec->stages[stage];
  std::string message = "Call " + stage_label(*method.servable, spec) + " Failed, method '" + method.spec->name +
                        "', stage " + std::to_string(stage + 1) + ": ";
  message += text;
  return {code, std::move(message)};
}

Status VersionScheduler::closed_status() const {
  return Status::Unavailable("servable " + quoted(spec_->name) + ", version " + std::to_string(spec_->version) +
                             " is not available any more");
}

void VersionScheduler::sort_out(Request* request, std::span<const ReadyRun> ready, std::vector<AlikeRun>* runs) {
  const Method& method = *request->method;
  for (const ReadyRun& run : ready) {
    const CalleeSpec& callee = method.servable->callees[method.spec->stages[run.stage].callee];
    std::uint32_t first = run.first;
    if (callee.kind == CalleeSpec::Kind::kModel) {
      for (std::uint32_t i = run.first; i < run.first + run.count; ++i) {
        Status fits = check_instance(callee, *request, run.stage, i);
        if (fits.ok()) continue;
        find_alike(callee, *request, run.stage, first, i - first, runs);
        first = i + 1;
        flow_fail(request, i, stage_failure(*request, run.stage, fits.code(), fits.message()));
      }
    }
    find_alike(callee, *request, run.stage, first, run.first + run.count - first, runs);
  }
}

bool VersionScheduler::let_in(const std::shared_ptr<Request>& request, Deferred* later) {
  Request::Progress& progress = request->progress;
  if (Status in_time = check_deadline(*request, later->now); !in_time.ok()) {
    fail(request, std::move(in_time), later);
    return false;
  }
  if (Status admitted = admission_.enter(spec_->name, request->memory.held()); !admitted.ok()) {
    fail(request, std::move(admitted), later);
    return false;
  }
  progress.admitted = true;  // answer() gives the place back
  progress.arrival = next_arrival_++;
  request->info.received = later->now;
  if (request->info.deadline != Clock::time_point::max()) {
    deadlines_.emplace(request->info.deadline, request);
    progress.has_deadline = true;
    wake_at(request->info.deadline, later);
  }
  if (flow_finished(*request)) answer(request, later);
  return !progress.answered;
}

void VersionScheduler::enqueue(const std::shared_ptr<Request>& request, std::span<const AlikeRun> runs,
                               Deferred* later) {
  for (const AlikeRun& run : runs) {
    CalleeState& callee = *callees_[request->method->spec->stages[run.stage].callee];
    callee.queue.push(request, run, later->now, next_order_);
    next_order_ += run.count;
    mark_ready(&callee);
  }
  if (flow_finished(*request)) answer(request, later);
}

void VersionScheduler::answer(const std::shared_ptr<Request>& request, Deferred* later) {
  Request::Progress& progress = request->progress;
  if (progress.answered) return;
  progress.answered = true;
  if (progress.admitted) admission_.leave(request->memory.held());
  if (progress.has_deadline) {
    const auto [begin, end] = deadlines_.equal_range(request->info.deadline);
    for (auto it = begin; it != end; ++it) {
      if (!it->second.owner_before(request) && !request.owner_before(it->second)) {
        deadlines_.erase(it);
        break;
      }
    }
  }
  later->answered.push_back(request);
}

void VersionScheduler::fail(const std::shared_ptr<Request>& request, Status why, Deferred* later) {
  if (request->progress.answered) return;
  request->failure = std::move(why);
  answer(request, later);
  // Only the tasks that hold a failed request still read its tensors.
  if (request->progress.running == 0) later->dropped.push_back(std::move(request->values));
  stale_ += request->instances;
  if (stale_ <= kMostStale) return;
  std::uint64_t queued = 0;
  for (const CalleeState* callee : ready_) queued += callee->queue.waiting();
  if (stale_ < queued / 2) return;
  stale_ = 0;
  for (CalleeState* callee : ready_) callee->queue.sweep();
}

void VersionScheduler::stopped_running(const std::shared_ptr<Request>& request, Deferred* later) {
  --request->progress.running;
  if (request->progress.running == 0 && !request->failure.ok()) {
    later->dropped.push_back(std::move(request->values));
  }
}

}  // namespace servoir
