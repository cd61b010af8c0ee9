// The scheduler's state and its steps, all under one mutex. The public class locks, runs a step, unlocks, and then does
// what the step deferred: answers and the timer.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "schedule/callee_queue.h"
#include "schedule/flow.h"
#include "schedule/lane_state.h"
#include "schedule/scheduler.h"

namespace servoir {

// What is done after the lock is released.
struct Deferred {
  std::vector<std::shared_ptr<Request>> answered;
  Clock::time_point wake = Clock::time_point::max();
};

struct Scheduler::Impl {
  struct Servable;

  // A callee with its queue and the lanes that offer it.
  struct CalleeState {
    CalleeState(Servable* owner, std::uint32_t number, const CalleeSpec* spec)
        : servable(owner), index(number), queue(spec) {}
    Servable* servable;
    std::uint32_t index;
    CalleeQueue queue;
    std::vector<LaneState*> lanes;
    bool ready = false;                         // listed in Impl::ready
    std::uint64_t room_per_row = 0;             // bytes of output, as seen lately
    std::uint64_t ns_per_row = 0;               // time in the worker, as seen lately; 0: not yet
    std::unique_ptr<MethodSpec> call_spec;      // of call_method
    std::shared_ptr<const Method> call_method;  // models: a method with this one stage, for Model.call
    CalleeStats stats;
  };

  struct Servable {
    ServableId id = 0;
    std::shared_ptr<const ServableSpec> spec;
    std::vector<std::shared_ptr<const Method>> methods;
    std::vector<std::unique_ptr<CalleeState>> callees;
    bool started = false;  // a lane was attached at least once
  };

  Impl(Arena* arena_of, SlabPool* slabs_of, Hooks hooks_of)
      : arena(arena_of), slabs(slabs_of), hooks(std::move(hooks_of)) {}

  // --- servables and lanes (scheduler.cc)
  Result<ServableId> publish(ServableSpec spec);
  void withdraw(ServableId id, std::string_view reason, Deferred* later);
  Result<LaneId> attach(ServableId id, LanePort* port, std::span<const std::uint32_t> callees, std::string name);
  void detach(LaneId id, std::string_view reason, Deferred* later);
  Result<std::shared_ptr<const Method>> find(std::string_view servable, std::uint64_t version,
                                             std::string_view method) const;

  // --- requests (requests.cc)
  void submit(const std::shared_ptr<Request>& request, Deferred* later);
  void enqueue(const std::shared_ptr<Request>& request, std::span<const ReadyRun> runs, Deferred* later);
  void answer(const std::shared_ptr<Request>& request, Deferred* later);
  void fail(const std::shared_ptr<Request>& request, Status why, Deferred* later);
  void stopped_running(const std::shared_ptr<Request>& request);
  void expire(Clock::time_point now, Deferred* later);

  // --- batches (dispatch.cc)
  void pump(Clock::time_point now, Deferred* later);
  bool dispatch(CalleeState* callee, Clock::time_point now, Deferred* later);
  bool post_batch(CalleeState* callee, CalleeQueue::Group* group, LaneState* lane, std::uint64_t rows, Deferred* later);
  void mark_ready(CalleeState* callee);

  // --- records (results.cc)
  Status on_record(LaneId id, std::span<const std::byte> record, Deferred* later);
  Status on_done(LaneState* lane, std::span<const std::byte> record, Deferred* later);
  Status on_need_room(LaneState* lane, std::span<const std::byte> record);
  Status on_call(LaneState* lane, std::span<const std::byte> record, Deferred* later);
  void finish_call(LaneId lane, std::uint64_t task, std::uint64_t call, const Request& request);
  void store_results(const RunningTask& task, const RowsResult& result,
                     const std::vector<std::vector<BlockRef>>& blocks);
  void finish_task(const RunningTask& task, const RowsResult& result, Deferred* later);

  [[nodiscard]] CalleeState& callee_of(const Request& request, std::uint32_t stage) {
    return *servables.at(request.method->servable_id)->callees[request.method->spec->stages[stage].callee];
  }
  // "Call TAG Failed, method 'm', stage 1: text": what an instance's error says.
  static Status stage_failure(const Request& request, std::uint32_t stage, Code code, std::string_view text);

  Arena* arena;
  SlabPool* slabs;
  Hooks hooks;
  Scheduler* self = nullptr;

  mutable std::mutex mutex;
  std::unordered_map<ServableId, std::unique_ptr<Servable>> servables;
  std::map<std::string, std::map<std::uint64_t, Servable*>, std::less<>> by_name;
  // Why versions that were running are not there any more.
  std::map<std::string, std::map<std::uint64_t, std::string>, std::less<>> withdrawn;
  std::unordered_map<LaneId, std::unique_ptr<LaneState>> lanes;
  std::vector<CalleeState*> ready;  // callees with waiting instances (or lately so)
  std::multimap<Clock::time_point, std::weak_ptr<Request>> deadlines;
  Clock::time_point armed = Clock::time_point::max();  // what hooks.wake_at was told
  std::uint64_t next_servable = 1;
  std::uint64_t next_lane = 1;
  std::uint64_t next_task = 1;
  std::uint64_t next_order = 1;
  std::uint64_t use_counter = 0;
  std::uint64_t enqueued = 0;
  std::uint64_t max_enqueued = 10'000;
  std::uint64_t stale = 0;  // instances in queues whose request was answered early
  // Reused for every record and batch.
  MessageWriter writer;
  RunTask run_task;
  RowsResult rows_result;
};

}  // namespace servoir
