#include "schedule/version_scheduler.h"

#include <algorithm>
#include <iterator>

#include "base/text.h"

namespace servoir {
namespace {

// When a ring that was full is tried again.
constexpr std::chrono::milliseconds kFullRing{5};

// What submit() finds in a request. Each thread keeps the memory of usual ones.
struct Found {
  std::vector<ReadyRun> ready;
  std::vector<AlikeRun> alike;
};
constexpr std::size_t kKeptRuns = 1024;
thread_local Found t_found;

// A method whose only stage is the model, for Model.call.
std::unique_ptr<MethodSpec> call_spec(const CalleeSpec& callee, std::uint32_t index) {
  auto spec = std::make_unique<MethodSpec>();
  spec->name = "Model.call";
  StageSpec stage;
  stage.callee = index;
  for (std::uint32_t i = 0; i < callee.inputs; ++i) {
    spec->inputs.push_back(callee.input_ports[i].name);
    stage.inputs.push_back(i);
  }
  stage.first_output = callee.inputs;
  stage.outputs = callee.outputs;
  for (std::uint32_t i = 0; i < callee.outputs; ++i) {
    spec->output_names.push_back(callee.output_ports[i].name);
    spec->outputs.push_back(callee.inputs + i);
  }
  spec->stages.push_back(std::move(stage));
  spec->values = callee.inputs + callee.outputs;
  return spec;
}

}  // namespace

VersionScheduler::VersionScheduler(std::shared_ptr<Surroundings> around, ServableId id,
                                   std::shared_ptr<const ServableSpec> spec, std::shared_ptr<WaitingRequests> waiting)
    : around_(std::move(around)),
      id_(id),
      spec_(std::move(spec)),
      waiting_(waiting),
      admission_(&around_->limit, std::move(waiting)) {
  for (std::uint32_t i = 0; i < spec_->callees.size(); ++i) {
    const CalleeSpec& callee = spec_->callees[i];
    const metrics::Scope scope(
        around_->figures,
        {{"servable", spec_->name}, {"version", std::to_string(spec_->version)}, {"callee", callee.name}});
    auto state = std::make_unique<CalleeState>(i, &callee, scope);
    state->room_per_row = first_room_per_row(callee);
    if (callee.kind == CalleeSpec::Kind::kModel) {
      state->call_spec = call_spec(callee, i);
      state->call_method = make_method(spec_, state->call_spec.get(), id);
    }
    callees_.push_back(std::move(state));
  }
  find_followers();
}

// ---- steps, under the lock

bool VersionScheduler::remove_lane(std::uint32_t id, std::string_view reason, bool by_itself, Deferred* later) {
  const auto found = lanes_.find(id);
  if (found == lanes_.end()) return false;
  const std::unique_ptr<LaneState> lane = std::move(found->second);
  lanes_.erase(found);
  lane->outbox->close();
  if (lane->wish) --wishes_;
  for (const std::uint32_t callee : lane->callees) std::erase(callees_[callee]->lanes, lane.get());
  find_shared_lanes();
  bool known_cause = !lane->tasks.empty() && lane->tasks.front().deaths > 0;
  for (LaneState* other : lane->siblings) {
    lane->beside = lane->beside || other->runs_beside(*lane);
    other->beside = other->beside || lane->runs_beside(*other);
    std::erase(other->siblings, lane.get());
    other->leaving = true;
  }
  // The lane ran the first; it had not begun those that follow.
  bool ran = true;
  for (RunningTask& task : lane->tasks) {
    for (const std::shared_ptr<Request>& call : task.calls) {
      fail(call, Status::Cancelled("the worker that called is gone"), later);
    }
    for (const Span& span : task.spans) stopped_running(span.request, later);
    task.spans = those_wanted(task.spans);
    if (task.spans.empty()) {
      ran = false;
    } else if (std::exchange(ran, false)) {
      known_cause = died_with(&task, *lane, reason, by_itself, later) || known_cause;
    } else {
      put_back(callees_[task.callee].get(), &task);
    }
  }
  return known_cause;
}

void VersionScheduler::wake_at(Clock::time_point when, Deferred* later) {
  if (when >= wake_) return;
  wake_ = when;
  later->wake = when;
}

void VersionScheduler::send(const LaneState& lane, Deferred* later) {
  lane.outbox->add(writer_.bytes());
  if (later->outboxes.empty() || later->outboxes.back() != lane.outbox) later->outboxes.push_back(lane.outbox);
}

// ---- the public functions

void VersionScheduler::carry_out(Deferred* later) {
  bool all_posted = true;
  for (const std::shared_ptr<Outbox>& outbox : later->outboxes) all_posted = outbox->post() && all_posted;
  if (!all_posted) {
    const MutexLock lock(&mutex_);
    ring_was_full_ = true;
    wake_at(later->now + kFullRing, later);
  }
  for (const std::shared_ptr<Request>& request : later->answered) {
    if (request->answer) request->answer(request, true);
  }
  for (auto& [lane, why] : later->overdue) {
    if (around_->hooks.overdue) around_->hooks.overdue(id_ << kLaneBits | lane, std::move(why));
  }
  if (later->wake != Clock::time_point::max() && around_->hooks.wake_at) around_->hooks.wake_at(id_, later->wake);
}

Result<std::uint32_t> VersionScheduler::attach(LanePort* port, std::span<const std::uint32_t> callees,
                                               std::string name) {
  Deferred later = begin();
  auto lane = std::make_unique<LaneState>();
  lane->outbox = std::make_shared<Outbox>(port);
  lane->name = std::move(name);
  lane->callees.assign(callees.begin(), callees.end());
  std::uint32_t id = 0;
  {
    const MutexLock lock(&mutex_);
    if (closed_) return closed_status();
    for (const std::uint32_t callee : callees) {
      if (callee >= callees_.size()) {
        return Status::InvalidArgument(lane->name + " offers callee " + std::to_string(callee) + ", but servable " +
                                       quoted(spec_->name) + " has " + std::to_string(callees_.size()));
      }
    }
    id = lane->id = next_lane_++;
    for (const std::uint32_t callee : callees) callees_[callee]->lanes.push_back(lane.get());
    find_shared_lanes();
    for (const auto& [other_id, other] : lanes_) {
      if (other->name != lane->name) continue;
      other->siblings.push_back(lane.get());
      lane->siblings.push_back(other.get());
    }
    lanes_.emplace(id, std::move(lane));
    dispatch_all(&later);
  }
  carry_out(&later);
  return id;
}

bool VersionScheduler::detach(std::uint32_t lane, std::string_view reason, bool by_itself) {
  Deferred later = begin();
  bool known_cause = false;
  {
    const MutexLock lock(&mutex_);
    known_cause = remove_lane(lane, reason, by_itself, &later);
    dispatch_all(&later);
  }
  carry_out(&later);
  return known_cause;
}

bool VersionScheduler::drain(std::uint32_t lane) {
  const MutexLock lock(&mutex_);
  const auto found = lanes_.find(lane);
  if (found == lanes_.end()) return true;
  found->second->draining = true;
  return found->second->tasks.empty();
}

void VersionScheduler::submit(const std::shared_ptr<Request>& request) {
  // Requests of many instances must not have those wait that come at the same time.
  constexpr std::size_t kRunsInOneGo = 64;
  auto& [ready, alike] = t_found;
  ready.clear();
  alike.clear();
  flow_start(request.get(), &ready);
  sort_out(request.get(), ready, &alike);
  Deferred later = begin();
  std::span<const AlikeRun> runs = alike;
  for (bool first = true; first || !runs.empty(); first = false) {
    const MutexLock lock(&mutex_);
    if (closed_) fail(request, closed_status(), &later);
    if (request->progress.answered || (first && !let_in(request, &later))) break;
    const std::span<const AlikeRun> part = runs.first(std::min(runs.size(), kRunsInOneGo));
    enqueue(request, part, &later);
    runs = runs.subspan(part.size());
  }
  if (alike.capacity() > kKeptRuns) alike = {};
  carry_out(&later);  // which may submit more
}

void VersionScheduler::cancel(const std::shared_ptr<Request>& request, Status why) {
  Deferred later = begin();
  {
    const MutexLock lock(&mutex_);
    fail(request, std::move(why), &later);
  }
  carry_out(&later);
}

void VersionScheduler::pump() {
  Deferred later = begin();
  {
    const MutexLock lock(&mutex_);
    dispatch_all(&later);
  }
  carry_out(&later);
}

Status VersionScheduler::on_record(std::uint32_t id, std::span<const std::byte> record) {
  const Result<RecordKind> kind = MessageReader(record).kind();
  if (!kind.ok()) return kind.status();
  Deferred later = begin();
  Status status;
  {
    const MutexLock lock(&mutex_);
    const auto found = lanes_.find(id);
    if (found == lanes_.end()) return Status::Ok();  // it was detached meanwhile
    LaneState* lane = found->second.get();
    switch (*kind) {
      case RecordKind::kDone:
        status = on_done(lane, record, &later);
        break;
      case RecordKind::kNeedRoom:
        status = on_need_room(lane, record, &later);
        break;
      case RecordKind::kCall:
        status = on_call(lane, record, &later);
        break;
      default:
        status =
            Status::Internal("a worker sent a record of kind " + std::to_string(static_cast<std::uint32_t>(*kind)));
    }
  }
  carry_out(&later);
  return status;
}

void VersionScheduler::tick(Clock::time_point now) {
  Deferred later = begin();
  later.now = now;
  {
    const MutexLock lock(&mutex_);
    if (wake_ > now) {
      later.wake = wake_;  // an earlier time was asked for in vain, and has taken its place
    } else {
      wake_ = Clock::time_point::max();
      expire(&later);
      find_overdue(&later);
      dispatch_all(&later);
      if (std::exchange(ring_was_full_, false)) {
        for (const auto& [id, lane] : lanes_) later.outboxes.push_back(lane->outbox);
      }
    }
  }
  carry_out(&later);
}

void VersionScheduler::close(std::string_view reason) {
  Deferred later = begin();
  std::vector<std::unique_ptr<CalleeState>> callees;
  {
    const MutexLock lock(&mutex_);
    std::vector<std::uint32_t> attached;
    for (const auto& [lane_id, lane] : lanes_) attached.push_back(lane_id);
    for (const std::uint32_t lane : attached) remove_lane(lane, reason, false, &later);
    for (const std::unique_ptr<CalleeState>& callee : callees_) {
      std::vector<std::shared_ptr<Request>> requests = callee->queue.clear();
      std::ranges::move(callee->suspects.clear(), std::back_inserter(requests));
      for (const std::shared_ptr<Request>& request : requests) {
        fail(request,
             Status::Unavailable("servable " + quoted(spec_->name) + " is not available: " + std::string(reason)),
             &later);
      }
    }
    ready_.clear();
    callees.swap(callees_);
    closed_ = true;
    admission_.close();
    wake_ = Clock::time_point::max();
  }
  later.wake = Clock::time_point::max();
  carry_out(&later);
}

void VersionScheduler::abandon() {
  decltype(callees_) callees;
  decltype(lanes_) lanes;
  const MutexLock lock(&mutex_);
  closed_ = true;
  for (const auto& [id, lane] : lanes_) lane->outbox->close();
  ready_.clear();
  deadlines_.clear();
  callees.swap(callees_);
  lanes.swap(lanes_);
}

}  // namespace servoir
