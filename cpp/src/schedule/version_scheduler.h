// VersionScheduler: the queues, lanes and requests of one published version of a servable. Nothing in here is shared
// with another version, so versions do not wait for each other.
//
// It is a passive object with a mutex and without a thread; any thread may call it. A public function locks the mutex,
// runs steps, unlocks it, and then does what the steps deferred: records for lanes, answers and the timer. Requests
// hold the scheduler of their version through their method, so it may outlive its withdrawal; it then refuses whatever
// comes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "metrics/counter.h"
#include "request/flow.h"
#include "request/request_limit.h"
#include "schedule/callee_queue.h"
#include "schedule/lane_state.h"
#include "schedule/scheduler.h"
#include "schedule/service_time.h"
#include "schedule/suspects.h"

namespace servoir {

// What the schedulers of all versions use.
struct Surroundings {
  SlabPool* slabs;
  metrics::Registry* figures;
  Scheduler::Hooks hooks;  // none when the server has ended
  RequestLimit limit;
};

class VersionScheduler {
 public:
  // `waiting` is shared by the versions of a servable.
  VersionScheduler(std::shared_ptr<Surroundings> around, ServableId id, std::shared_ptr<const ServableSpec> spec,
                   std::shared_ptr<WaitingRequests> waiting);

  // See the functions of Scheduler. A lane's number is known to this version only.
  [[nodiscard]] Result<std::uint32_t> attach(LanePort* port, std::span<const std::uint32_t> callees, std::string name);
  bool detach(std::uint32_t lane, std::string_view reason, bool by_itself);
  bool drain(std::uint32_t lane);
  void submit(const std::shared_ptr<Request>& request);
  void cancel(const std::shared_ptr<Request>& request, Status why);
  void pump();
  [[nodiscard]] Status on_record(std::uint32_t id, std::span<const std::byte> record);
  void tick(Clock::time_point now);
  // Detaches the lanes, and fails what waits and what comes with this reason.
  void close(std::string_view reason);
  // As close(), but what waits is not answered: the whole server ends.
  void abandon();
  [[nodiscard]] const ServableSpec& spec() const { return *spec_; }
  [[nodiscard]] const std::shared_ptr<WaitingRequests>& waiting() const { return waiting_; }

 private:
  // What is done after the lock is released, and the time at which the steps are run.
  struct Deferred {
    Clock::time_point now;
    Clock::time_point wake = Clock::time_point::max();
    std::vector<std::shared_ptr<Outbox>> outboxes;               // to which records were added
    std::vector<std::pair<std::uint32_t, std::string>> overdue;  // lanes, and why
    std::vector<std::shared_ptr<Request>> answered;
    std::vector<RecycledVector<TensorRef>> dropped;  // many tensors take long to give back
  };

  // A callee with its queue and the lanes that offer it.
  struct CalleeState {
    CalleeState(std::uint32_t number, const CalleeSpec* spec, const metrics::Scope& scope_of)
        : index(number), queue(spec), suspects(spec), scope(scope_of) {}
    // The batch to come is one of the suspects. Those that may end a worker and those that wait take turns.
    [[nodiscard]] bool suspects_first() const { return !suspects.empty() && (queue.empty() || !ran_suspects); }
    // Only if anything waits. A smaller urgency comes first.
    [[nodiscard]] std::uint32_t urgency() const { return suspects_first() ? 0 : queue.first()->urgency(); }
    [[nodiscard]] std::uint64_t age() const {
      return suspects_first() ? first().request->progress.arrival : queue.first()->queue.age();
    }
    [[nodiscard]] const Span& first() const {
      return suspects_first() ? suspects.front().spans.front() : queue.first()->queue.front()->first();
    }

    std::uint32_t index;
    CalleeQueue queue;
    Suspects suspects;
    bool ran_suspects = false;                                 // the last batch was of the suspects
    Clock::time_point apart_until = Clock::time_point::max();  // so long the suspects wait for a worker of their own
    std::vector<LaneState*> lanes;
    bool ready = false;                         // listed in ready_
    std::uint32_t passed_over = 0;              // batches of younger requests posted to its lanes while it waited
    std::uint64_t room_per_row = 0;             // bytes of output, as seen lately
    std::uint64_t ns_per_row = 0;               // time in the worker, as seen lately; 0: not yet
    ServiceTime time;                           // for which a batch occupies its lane
    std::vector<std::uint32_t> sharing;         // callees that all its lanes, and no others, offer; itself among them
    std::vector<std::uint32_t> followers;       // callees that what it has run may come to afterwards
    std::unique_ptr<MethodSpec> call_spec;      // of call_method
    std::shared_ptr<const Method> call_method;  // of models: a method whose only stage is the model, for Model.call

    const metrics::Scope scope;
    metrics::GaugeReading queued{scope,
                                 {"servoir_callee_queued_instances", "Instances that wait for the callee."},
                                 [this] { return static_cast<double>(queue.waiting()); }};
    metrics::Counter batches{scope, {"servoir_callee_batches", "Batches that workers have run."}};
    metrics::Counter instances{scope, {"servoir_callee_instances", "Instances that workers have run."}};
    metrics::Counter failed{scope, {"servoir_callee_failed_instances", "Instances that a worker ran with an error."}};
    metrics::Counter refused{scope,
                             {"servoir_callee_refused_requests",
                              "Requests refused when they came: their wait for the callee was too long."}};
    metrics::Counter dropped{
        scope,
        {"servoir_callee_dropped_requests", "Requests that had waited for the callee too long, and were not run."}};
    metrics::Counter run_time{
        scope, {"servoir_callee_run_seconds", "Time that workers took for batches.", metrics::Unit::kSeconds}};
  };

  // --- lanes (version_scheduler.cc)
  [[nodiscard]] Deferred begin() const { return {around_->hooks.time(), Clock::time_point::max(), {}, {}, {}, {}}; }
  // Posts records, calls answers and sets the timer, without the lock.
  void carry_out(Deferred* later);
  // The record that writer_ has written goes to the lane.
  void send(const LaneState& lane, Deferred* later) SERVOIR_REQUIRES(mutex_);
  bool remove_lane(std::uint32_t id, std::string_view reason, bool by_itself, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void wake_at(Clock::time_point when, Deferred* later) SERVOIR_REQUIRES(mutex_);

  // --- requests (requests.cc)
  // Finds what is ready of the request as runs that may share a batch; instances that do not fit their callee fail.
  static void sort_out(Request* request, std::span<const ReadyRun> ready, std::vector<AlikeRun>* runs);
  // Whether the request may be queued; it is answered if not.
  bool let_in(const std::shared_ptr<Request>& request, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void enqueue(const std::shared_ptr<Request>& request, std::span<const AlikeRun> runs, Deferred* later)
      SERVOIR_REQUIRES(mutex_);
  void answer(const std::shared_ptr<Request>& request, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void fail(const std::shared_ptr<Request>& request, Status why, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void stopped_running(const std::shared_ptr<Request>& request, Deferred* later) SERVOIR_REQUIRES(mutex_);
  [[nodiscard]] Status closed_status() const SERVOIR_REQUIRES(mutex_);

  // --- deadlines (deadlines.cc)
  // Whether the request, which comes now, can be answered in time. If not, it says why.
  [[nodiscard]] Status check_deadline(const Request& request, Clock::time_point now) SERVOIR_REQUIRES(mutex_);
  // Whether the span cannot be answered in time, even if a batch of so many instances then begins with it.
  [[nodiscard]] bool too_late(const Span& span, std::uint64_t rows, Clock::time_point begin) SERVOIR_REQUIRES(mutex_);
  void drop_late(CalleeState* callee, std::vector<Span>* late, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void expire(Deferred* later) SERVOIR_REQUIRES(mutex_);
  // From the beginning of a batch of this stage to the answer, if nothing waits.
  [[nodiscard]] std::chrono::nanoseconds time_to_finish(const Method& method, std::uint32_t stage, std::uint64_t rows)
      SERVOIR_REQUIRES(mutex_);
  // Until the lane has ended the tasks that it holds.
  [[nodiscard]] std::chrono::nanoseconds time_until_free(const LaneState& lane, Clock::time_point now)
      SERVOIR_REQUIRES(mutex_);
  // For how long the request would wait at least until the callee's lanes come to it.
  [[nodiscard]] std::chrono::nanoseconds time_before(const CalleeState& callee, const Request& request,
                                                     Clock::time_point now) SERVOIR_REQUIRES(mutex_);
  void find_shared_lanes() SERVOIR_REQUIRES(mutex_);
  void find_followers() SERVOIR_REQUIRES(mutex_);

  // --- workers that take too long (time_limits.cc)
  // When the lane's worker must have ended its first task; max() if it has none, or waits for something else.
  [[nodiscard]] Clock::time_point must_end(const LaneState& lane) const SERVOIR_REQUIRES(mutex_);
  // The lane began a task, or goes on with it.
  void watch(const LaneState& lane, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void find_overdue(Deferred* later) SERVOIR_REQUIRES(mutex_);

  // --- batches (dispatch.cc)
  void dispatch_all(Deferred* later) SERVOIR_REQUIRES(mutex_);
  bool dispatch(CalleeState* callee, LaneState** chosen, Deferred* later) SERVOIR_REQUIRES(mutex_);
  [[nodiscard]] std::vector<Span> take_batch(CalleeState* callee, CalleeQueue::Level* level, CalleeQueue::Group* group,
                                             std::uint64_t rows, const LaneState& lane, Deferred* later)
      SERVOIR_REQUIRES(mutex_);
  // Posts a batch of the suspects to a lane whose worker runs nothing else.
  bool dispatch_suspects(CalleeState* callee, LaneState** chosen, Deferred* later) SERVOIR_REQUIRES(mutex_);
  // Whether the lane begins nothing, because a suspect runs, or is about to run, on another lane of its worker.
  [[nodiscard]] bool leaves_apart(const LaneState& lane, Clock::time_point now) const SERVOIR_REQUIRES(mutex_);
  bool post_batch(CalleeState* callee, RunningTask task, LaneState* lane, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void mark_ready(CalleeState* callee) SERVOIR_REQUIRES(mutex_);

  // --- batches with which a worker died (deaths.cc)
  // Returns whether an instance was found guilty.
  bool died_with(RunningTask* task, const LaneState& lane, std::string_view reason, bool by_itself, Deferred* later)
      SERVOIR_REQUIRES(mutex_);
  void put_back(CalleeState* callee, RunningTask* task) SERVOIR_REQUIRES(mutex_);
  void refuse_deadly(CalleeState* callee, std::vector<Span>* spans, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void fail_instances(const Span& span, Code code, std::string_view text, Deferred* later) SERVOIR_REQUIRES(mutex_);

  // --- room for outputs (rooms.cc)
  [[nodiscard]] static std::uint64_t first_room_per_row(const CalleeSpec& callee);
  static void saw_output(CalleeState* callee, std::uint64_t bytes, std::uint32_t rows);
  [[nodiscard]] Result<Place> room_for_batch(const CalleeState& callee, std::uint32_t rows) const;
  Status on_need_room(LaneState* lane, std::span<const std::byte> record, Deferred* later) SERVOIR_REQUIRES(mutex_);
  // Tries again what waits for room.
  void grant_wishes(Deferred* later) SERVOIR_REQUIRES(mutex_);
  void grant_wish(LaneState* lane, Deferred* later) SERVOIR_REQUIRES(mutex_);
  // Whether room of so many bytes may yet be had, though not now; if so, it is tried again soon. `short_since`: when
  // none was found first. `asking` is the lane whose worker waits for it.
  [[nodiscard]] bool may_get_room(Clock::time_point short_since, std::uint64_t bytes, const LaneState* asking,
                                  Deferred* later) SERVOIR_REQUIRES(mutex_);

  // --- records (results.cc)
  Status on_done(LaneState* lane, std::span<const std::byte> record, Deferred* later) SERVOIR_REQUIRES(mutex_);
  Status on_call(LaneState* lane, std::span<const std::byte> record, Deferred* later) SERVOIR_REQUIRES(mutex_);
  void finish_call(std::uint32_t lane, std::uint64_t task, std::uint64_t call, const Request& request, Deferred* later)
      SERVOIR_REQUIRES(mutex_);
  void refuse_call(const LaneState& lane, std::uint64_t call_id, std::uint32_t rows, std::string_view why,
                   Deferred* later) SERVOIR_REQUIRES(mutex_);
  void store_results(const RunningTask& task, const RowsResult& result,
                     const std::vector<std::vector<BlockRef>>& blocks) SERVOIR_REQUIRES(mutex_);
  void finish_task(const RunningTask& task, const RowsResult& result, Deferred* later) SERVOIR_REQUIRES(mutex_);

  // "Call TAG Failed, method 'm', stage 1: text": what an instance's error says.
  static Status stage_failure(const Request& request, std::uint32_t stage, Code code, std::string_view text);

  const std::shared_ptr<Surroundings> around_;
  const ServableId id_;
  const std::shared_ptr<const ServableSpec> spec_;
  const std::shared_ptr<WaitingRequests> waiting_;

  mutable Mutex mutex_;
  std::vector<std::unique_ptr<CalleeState>> callees_ SERVOIR_GUARDED_BY(mutex_);  // none after close()
  std::unordered_map<std::uint32_t, std::unique_ptr<LaneState>> lanes_ SERVOIR_GUARDED_BY(mutex_);
  std::vector<CalleeState*> ready_ SERVOIR_GUARDED_BY(mutex_);  // callees with waiting instances (or lately so)
  std::multimap<Clock::time_point, std::weak_ptr<Request>> deadlines_ SERVOIR_GUARDED_BY(mutex_);
  Clock::time_point wake_ SERVOIR_GUARDED_BY(mutex_) = Clock::time_point::max();  // when tick() is wanted; max(): never
  Admission admission_ SERVOIR_GUARDED_BY(mutex_);
  bool closed_ SERVOIR_GUARDED_BY(mutex_) = false;
  bool has_suspects_ SERVOIR_GUARDED_BY(mutex_) = false;   // of any callee, or had some lately
  bool ring_was_full_ SERVOIR_GUARDED_BY(mutex_) = false;  // of a lane, whose outbox is posted again
  std::uint32_t wishes_ SERVOIR_GUARDED_BY(mutex_) = 0;    // of lanes
  Clock::time_point short_since_ SERVOIR_GUARDED_BY(mutex_) = Clock::time_point::max();       // a batch found no room
  Clock::time_point wish_short_since_ SERVOIR_GUARDED_BY(mutex_) = Clock::time_point::max();  // likewise a wish
  Clock::time_point last_freed_ SERVOIR_GUARDED_BY(mutex_){};     // the arena was seen to be less full
  std::uint64_t used_when_short_ SERVOIR_GUARDED_BY(mutex_) = 0;  // bytes of the arena, when room was last wanted
  std::uint32_t next_lane_ SERVOIR_GUARDED_BY(mutex_) = 1;
  std::uint64_t next_task_ SERVOIR_GUARDED_BY(mutex_) = 1;
  std::uint64_t next_order_ SERVOIR_GUARDED_BY(mutex_) = 1;
  std::uint64_t next_arrival_ SERVOIR_GUARDED_BY(mutex_) = 1;
  std::uint64_t use_counter_ SERVOIR_GUARDED_BY(mutex_) = 0;
  std::uint64_t pass_ SERVOIR_GUARDED_BY(mutex_) = 0;   // over the ready callees
  std::uint64_t stale_ SERVOIR_GUARDED_BY(mutex_) = 0;  // instances in queues whose request was answered early
  // Reused for every record and batch.
  MessageWriter writer_ SERVOIR_GUARDED_BY(mutex_);
  RunTask run_task_ SERVOIR_GUARDED_BY(mutex_);
  RowsResult rows_result_ SERVOIR_GUARDED_BY(mutex_);
  std::vector<ReadyRun> ready_runs_ SERVOIR_GUARDED_BY(mutex_);
  std::vector<AlikeRun> alike_runs_ SERVOIR_GUARDED_BY(mutex_);
  std::vector<std::chrono::nanoseconds> stage_times_ SERVOIR_GUARDED_BY(mutex_);
};

}  // namespace servoir
