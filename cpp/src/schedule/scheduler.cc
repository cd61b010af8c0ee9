#include "schedule/scheduler.h"

#include <algorithm>

#include "schedule/scheduler_impl.h"

namespace servoir {
namespace {

std::string quoted(std::string_view name) { return "'" + std::string(name) + "'"; }

// A function's room is guessed by this until it has run once.
constexpr std::uint64_t kFirstRoomPerRow = 256;

std::uint64_t first_room_per_row(const CalleeSpec& callee) {
  std::uint64_t bytes = 0;
  for (const PortSpec& port : callee.output_ports) {
    if (!port.rank_known || port.row_shape.dynamic() || element_bytes(port.dtype) == 0) continue;
    const Result<std::uint64_t> size = port.row_shape.byte_size(port.dtype);
    if (size.ok()) bytes += *size;
  }
  return std::max(bytes, kFirstRoomPerRow);
}

// The model alone as a method, for Model.call.
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

Result<ServableId> Scheduler::Impl::publish(ServableSpec spec) {
  SERVOIR_RETURN_IF_ERROR(check(spec));
  std::map<std::uint64_t, Servable*>& versions = by_name[spec.name];
  if (versions.contains(spec.version)) {
    return Status::AlreadyExists("servable " + quoted(spec.name) + " version " + std::to_string(spec.version) +
                                 " is already there");
  }
  auto servable = std::make_unique<Servable>();
  servable->id = next_servable++;
  servable->spec = std::make_shared<const ServableSpec>(std::move(spec));
  for (const MethodSpec& method : servable->spec->methods) {
    servable->methods.push_back(make_method(servable->spec, &method, servable->id));
  }
  for (std::uint32_t i = 0; i < servable->spec->callees.size(); ++i) {
    const CalleeSpec& callee = servable->spec->callees[i];
    auto state = std::make_unique<CalleeState>(servable.get(), i, &callee);
    state->room_per_row = first_room_per_row(callee);
    if (callee.kind == CalleeSpec::Kind::kModel) {
      state->call_spec = call_spec(callee, i);
      state->call_method = make_method(servable->spec, state->call_spec.get(), servable->id);
    }
    state->stats.servable = servable->spec->name;
    state->stats.version = servable->spec->version;
    state->stats.callee = callee.name;
    servable->callees.push_back(std::move(state));
  }
  versions.emplace(servable->spec->version, servable.get());
  const ServableId id = servable->id;
  servables.emplace(id, std::move(servable));
  return id;
}

void Scheduler::Impl::withdraw(ServableId id, std::string_view reason, Deferred* later) {
  const auto found = servables.find(id);
  if (found == servables.end()) return;
  Servable& servable = *found->second;
  std::vector<LaneId> attached;
  for (const auto& [lane_id, lane] : lanes) {
    if (lane->servable == id) attached.push_back(lane_id);
  }
  for (const LaneId lane : attached) detach(lane, reason, later);
  for (const std::unique_ptr<CalleeState>& callee : servable.callees) {
    for (const std::shared_ptr<Request>& request : callee->queue.clear()) {
      fail(request,
           Status::Unavailable("servable " + quoted(servable.spec->name) + " is not available: " + std::string(reason)),
           later);
    }
    std::erase(ready, callee.get());
    for (std::uint32_t i = 0; i < callee->queue.spec().inputs; ++i) {
      slabs->forget(slab_consumer(id, callee->index, i));
    }
  }
  const auto name = by_name.find(servable.spec->name);
  name->second.erase(servable.spec->version);
  if (name->second.empty()) by_name.erase(name);
  if (servable.started && !reason.empty()) withdrawn[servable.spec->name][servable.spec->version] = reason;
  servables.erase(found);
}

Result<LaneId> Scheduler::Impl::attach(ServableId id, LanePort* port, std::span<const std::uint32_t> callees,
                                       std::string name) {
  const auto found = servables.find(id);
  if (found == servables.end()) return Status::NotFound("no servable has the number " + std::to_string(id));
  Servable& servable = *found->second;
  for (const std::uint32_t callee : callees) {
    if (callee >= servable.callees.size()) {
      return Status::InvalidArgument(name + " offers callee " + std::to_string(callee) + ", but servable " +
                                     quoted(servable.spec->name) + " has " + std::to_string(servable.callees.size()));
    }
  }
  auto lane = std::make_unique<LaneState>();
  lane->id = next_lane++;
  lane->servable = id;
  lane->port = port;
  lane->name = std::move(name);
  lane->callees.assign(callees.begin(), callees.end());
  for (const std::uint32_t callee : callees) servable.callees[callee]->lanes.push_back(lane.get());
  servable.started = true;
  if (const auto gone = withdrawn.find(servable.spec->name); gone != withdrawn.end()) {
    gone->second.erase(servable.spec->version);
    if (gone->second.empty()) withdrawn.erase(gone);
  }
  const LaneId lane_id = lane->id;
  lanes.emplace(lane_id, std::move(lane));
  return lane_id;
}

void Scheduler::Impl::detach(LaneId id, std::string_view reason, Deferred* later) {
  const auto found = lanes.find(id);
  if (found == lanes.end()) return;
  const std::unique_ptr<LaneState> lane = std::move(found->second);
  lanes.erase(found);
  Servable& servable = *servables.at(lane->servable);
  for (const std::uint32_t callee : lane->callees) std::erase(servable.callees[callee]->lanes, lane.get());
  for (RunningTask& task : lane->tasks) {
    for (const std::shared_ptr<Request>& call : task.calls) {
      fail(call, Status::Cancelled("the worker that called is gone"), later);
    }
    CalleeState& callee = *servable.callees[task.callee];
    const bool elsewhere = !callee.lanes.empty();
    std::vector<Span> again;
    for (const Span& span : task.spans) {
      Request& request = *span.request;
      stopped_running(span.request);
      if (request.progress.answered) continue;
      if (elsewhere && !request.progress.retried) {
        again.push_back(span);
        continue;
      }
      for (std::uint32_t i = span.first; i < span.first + span.count; ++i) {
        flow_fail(&request, i,
                  stage_failure(request, span.stage, Code::kUnavailable,
                                lane->name + " died while it ran this: " + std::string(reason) +
                                    (request.progress.retried ? " (the second worker that died with this request)"
                                                              : " (no other worker can run it)")));
      }
      if (flow_finished(request)) answer(span.request, later);
    }
    for (const Span& span : again) span.request->progress.retried = true;
    if (!again.empty()) {
      callee.queue.put_back(again);
      mark_ready(&callee);
    }
  }
}

Result<std::shared_ptr<const Method>> Scheduler::Impl::find(std::string_view servable, std::uint64_t version,
                                                            std::string_view method) const {
  const auto versions = by_name.find(servable);
  const Servable* found = nullptr;
  std::string running;
  if (versions != by_name.end()) {
    for (const auto& [number, candidate] : versions->second) {
      if (!candidate->started) continue;
      running += (running.empty() ? "" : ", ") + std::to_string(number);
      if (version == 0 || version == number) found = candidate;  // ascending: the last one is the newest
    }
  }
  if (const auto gone = withdrawn.find(servable); gone != withdrawn.end()) {
    const auto reason = version == 0 ? std::prev(gone->second.end()) : gone->second.find(version);
    if (reason != gone->second.end() && (found == nullptr || reason->first > found->spec->version)) {
      return Status::Unavailable("servable " + quoted(servable) + ", version " + std::to_string(reason->first) +
                                 " is not available: " + reason->second);
    }
  }
  if (found == nullptr) {
    std::string text = "servable " + quoted(servable);
    if (version != 0) text += ", version " + std::to_string(version);
    text += " is not available; ";
    if (!running.empty()) return Status::NotFound(text + "running versions: " + running);
    if (versions != by_name.end() && (version == 0 || versions->second.contains(version))) {
      return Status::Unavailable(text + "its workers are starting");
    }
    std::string names;
    for (const auto& [name, candidates] : by_name) {
      const bool any =
          std::any_of(candidates.begin(), candidates.end(), [](const auto& c) { return c.second->started; });
      if (any) names += (names.empty() ? "" : ", ") + quoted(name);
    }
    // A server that runs none has not come up yet: the name may well be right.
    if (names.empty()) return Status::Unavailable(text + "no servable is running yet");
    return Status::NotFound(text + "running servables: " + names);
  }
  for (const std::shared_ptr<const Method>& candidate : found->methods) {
    if (candidate->spec->name == method) return candidate;
  }
  std::string names;
  for (const MethodSpec& candidate : found->spec->methods) {
    names += (names.empty() ? "" : ", ") + quoted(candidate.name);
  }
  return Status::NotFound("servable " + quoted(servable) + ", version " + std::to_string(found->spec->version) +
                          " has no method " + quoted(method) + "; its methods: " + names);
}

// ---- the public class: lock, step, unlock, deferred

namespace {

// Answers and the timer, outside the lock.
void carry_out(Deferred* later, const Scheduler::Hooks& hooks) {
  for (const std::shared_ptr<Request>& request : later->answered) {
    if (request->answer) request->answer(request);
  }
  if (later->wake != Clock::time_point::max() && hooks.wake_at) hooks.wake_at(later->wake);
}

}  // namespace

Scheduler::Scheduler(Arena* arena, SlabPool* slabs, Hooks hooks)
    : impl_(std::make_unique<Impl>(arena, slabs, std::move(hooks))) {
  impl_->self = this;
}

Scheduler::~Scheduler() = default;

Result<ServableId> Scheduler::publish(ServableSpec spec) {
  const std::lock_guard lock(impl_->mutex);
  return impl_->publish(std::move(spec));
}

void Scheduler::withdraw(ServableId id, std::string_view reason) {
  Deferred later;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->withdraw(id, reason, &later);
  }
  carry_out(&later, impl_->hooks);
}

Result<LaneId> Scheduler::attach(ServableId id, LanePort* port, std::span<const std::uint32_t> callees,
                                 std::string name) {
  Deferred later;
  Result<LaneId> lane = Status::Internal("unreachable");
  {
    const std::lock_guard lock(impl_->mutex);
    lane = impl_->attach(id, port, callees, std::move(name));
    impl_->pump(Clock::now(), &later);
  }
  carry_out(&later, impl_->hooks);
  return lane;
}

void Scheduler::detach(LaneId id, std::string_view reason) {
  Deferred later;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->detach(id, reason, &later);
    impl_->pump(Clock::now(), &later);
  }
  carry_out(&later, impl_->hooks);
}

bool Scheduler::drain(LaneId id) {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->lanes.find(id);
  if (found == impl_->lanes.end()) return true;
  found->second->draining = true;
  return found->second->tasks.empty();
}

Result<std::shared_ptr<const Method>> Scheduler::find(std::string_view servable, std::uint64_t version,
                                                      std::string_view method) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->find(servable, version, method);
}

void Scheduler::submit(std::shared_ptr<Request> request) {
  Deferred later;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->submit(request, &later);
  }
  carry_out(&later, impl_->hooks);
}

void Scheduler::cancel(const std::shared_ptr<Request>& request, Status why) {
  Deferred later;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->fail(request, std::move(why), &later);
  }
  carry_out(&later, impl_->hooks);
}

void Scheduler::pump() {
  Deferred later;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->pump(Clock::now(), &later);
  }
  carry_out(&later, impl_->hooks);
}

Status Scheduler::on_record(LaneId id, std::span<const std::byte> record) {
  Deferred later;
  Status status;
  {
    const std::lock_guard lock(impl_->mutex);
    status = impl_->on_record(id, record, &later);
  }
  carry_out(&later, impl_->hooks);
  return status;
}

void Scheduler::tick(Clock::time_point now) {
  Deferred later;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->armed = Clock::time_point::max();
    impl_->expire(now, &later);
    impl_->pump(now, &later);
  }
  carry_out(&later, impl_->hooks);
}

void Scheduler::set_max_enqueued_requests(std::uint64_t limit) {
  const std::lock_guard lock(impl_->mutex);
  impl_->max_enqueued = limit;
}

std::vector<CalleeStats> Scheduler::stats() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<CalleeStats> all;
  for (const auto& [id, servable] : impl_->servables) {
    for (const std::unique_ptr<Impl::CalleeState>& callee : servable->callees) {
      all.push_back(callee->stats);
      all.back().queued = callee->queue.waiting();
    }
  }
  return all;
}

}  // namespace servoir
