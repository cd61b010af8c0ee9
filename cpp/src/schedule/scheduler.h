// Scheduler: queues, batches and dispatch.
//
// A passive object: any thread of the server calls it, one mutex inside, no thread of its own. Requests come in by
// submit(); pump() closes batches and posts them to lanes; results come back by on_record(). A request's answer is
// called on the thread that completed it, after the lock is released.
//
// Batching is late and work-conserving: a batch is closed when a lane that offers the callee is idle, or when a whole
// batch is there and the lane has only one task before it. With a max_queue_delay an idle lane waits for more, at most
// until the oldest instance has waited that long. Instances of different shapes or dtypes for one callee never share a
// batch.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "channel/lane.h"
#include "memory/arena.h"
#include "memory/slab.h"
#include "schedule/graph.h"
#include "schedule/request.h"

namespace servoir {

using ServableId = std::uint64_t;
using LaneId = std::uint64_t;

struct CalleeStats {
  std::string servable;
  std::uint64_t version = 0;
  std::string callee;
  std::uint64_t queued = 0;     // instances waiting
  std::uint64_t batches = 0;    // run so far
  std::uint64_t instances = 0;  // run so far
  std::uint64_t failed = 0;     // instances
  std::uint64_t run_ns = 0;     // in all
};

class Scheduler {
 public:
  struct Hooks {
    // A batch waits for its queue delay, or a request for its deadline: call tick() at this time. Replaces the last
    // one.
    std::function<void(Clock::time_point)> wake_at;
  };
  // Both must outlive the scheduler.
  Scheduler(Arena* arena, SlabPool* slabs, Hooks hooks);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Makes a version known; it is running once a lane is attached. AlreadyExists if name and version are known.
  [[nodiscard]] Result<ServableId> publish(ServableSpec spec);
  // No new requests; those that wait fail with Unavailable and this reason. Its lanes are detached. A reason that is
  // not empty is kept for find(), until the version runs again: nothing older takes its place meanwhile.
  void withdraw(ServableId id, std::string_view reason);

  // A lane that runs these callees (indices in the spec). `name` is for error texts ("worker 4711 (device 0)"). The
  // port must live until detach() has returned.
  [[nodiscard]] Result<LaneId> attach(ServableId id, LanePort* port, std::span<const std::uint32_t> callees,
                                      std::string name);
  // The lane's worker is gone (call only when it cannot write to the arena any more). What it held is run again on
  // another lane, once, else fails with Unavailable and this reason.
  void detach(LaneId id, std::string_view reason);
  // No further batches for this lane; returns true when it holds none any more.
  bool drain(LaneId id);

  // The method, of the newest running version for version 0. NotFound or Unavailable, saying what there is.
  [[nodiscard]] Result<std::shared_ptr<const Method>> find(std::string_view servable, std::uint64_t version,
                                                           std::string_view method) const;

  // Queues the request's first stages. Never fails: an error is answered through the request. Does not dispatch: call
  // pump() once the input at hand is used up, so that what came together is batched together.
  void submit(std::shared_ptr<Request> request);
  // The client is gone or does not want the answer: instances that wait are dropped, those that run are run to the end
  // and forgotten. The request is answered with Cancelled unless it was answered before.
  void cancel(const std::shared_ptr<Request>& request, Status why);
  void pump();
  // A record of the lane's done ring. An error means that the worker broke the protocol: end it.
  [[nodiscard]] Status on_record(LaneId id, std::span<const std::byte> record);
  // See Hooks::wake_at.
  void tick(Clock::time_point now);

  // Requests accepted and not answered, at most (default 10 000); the next one is refused with ResourceExhausted.
  void set_max_enqueued_requests(std::uint64_t limit);
  [[nodiscard]] std::vector<CalleeStats> stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
