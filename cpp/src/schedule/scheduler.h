// Scheduler: queues, batches and dispatch.
//
// It is a passive object without a thread; any thread of the server may call it. Requests come in by submit(), pump()
// closes batches and posts them to lanes, and results come back by on_record(). The answer of a request is called by
// the thread that completed it, without a lock.
//
// Each published version has queues, lanes and a lock of its own (VersionScheduler); a request points to those of its
// version. No lock of the whole server lies on the way of a request: names and numbers are looked up in what each
// thread remembers, until a version comes or goes.
//
// Batching is late and work-conserving: a batch is closed when a lane that offers the callee is idle, or when a whole
// batch waits and the lane has only one task before it. With a max_queue_delay an idle lane waits for more, at most
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
#include "memory/slab.h"
#include "metrics/registry.h"
#include "request/graph.h"
#include "request/request.h"

namespace servoir {

// A lane that is attached to a servable, from attach() to detach(). Python calls the number an attachment.
using AttachmentId = std::uint64_t;
inline constexpr unsigned kLaneBits = 32;  // of the attachment; the others are the servable's number

class Scheduler {
 public:
  struct Hooks {
    // A batch of the version waits for its queue delay, or a request for its deadline: call tick() at this time at the
    // latest. The times come from any thread and in any order, so a later one does not replace an earlier one; tick()
    // asks anew.
    std::function<void(ServableId, Clock::time_point)> wake_at;
    // The lane's worker has taken longer for a batch than the callee allows, and must be ended. It is told once, from
    // any thread, with what the batch was and how long it may take.
    std::function<void(AttachmentId, std::string)> overdue;
    std::function<Clock::time_point()> now;  // none: Clock::now()

    [[nodiscard]] Clock::time_point time() const { return now ? now() : Clock::now(); }
  };
  // Both must outlive the scheduler.
  Scheduler(SlabPool* slabs, metrics::Registry* figures, Hooks hooks);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Makes a version known. It runs once a lane is attached. AlreadyExists if the name and the version are known.
  [[nodiscard]] Result<ServableId> publish(ServableSpec spec);
  // The version gets no new requests, and finishes those that it has. Returns true when nobody holds a method of it any
  // more, so that withdraw() cuts off nothing.
  bool retire(ServableId id);
  // The version gets no new requests, those that wait fail with Unavailable and this reason, and its lanes are
  // detached. A reason that is not empty is kept for find() until the version runs again; no older version takes its
  // place meanwhile.
  void withdraw(ServableId id, std::string_view reason);

  // Attaches a lane that runs these callees (indices in the spec). `name` is for error texts ("worker 4711 (device
  // 0)"), and the same for lanes of the same worker. The port must live until detach() has returned.
  [[nodiscard]] Result<AttachmentId> attach(ServableId id, LanePort* port, std::span<const std::uint32_t> callees,
                                            std::string name);
  // The lane's worker is gone; only to be called when it cannot write to the arena any more. The batch that it ran is
  // run again in halves, with this reason for an instance that ends workers when it is run alone, too. `by_itself`: the
  // worker crashed or exited, and nobody ended it from outside; then one instance that it ran alone is run no more.
  // Returns whether an instance is guilty, or that batch had ended a worker before, so that the death says nothing
  // about the worker.
  bool detach(AttachmentId id, std::string_view reason, bool by_itself = false);
  // The lane gets no further batches. Returns true when it holds none any more.
  bool drain(AttachmentId id);

  // Finds a method; version 0 is the newest version that runs. NotFound or Unavailable says what there is.
  [[nodiscard]] Result<std::shared_ptr<const Method>> find(std::string_view servable, std::uint64_t version,
                                                           std::string_view method) const;

  // Queues the first stages of the request. This never fails: an error is answered through the request. It does not
  // dispatch: call pump() once the input at hand is used up, so that what came together is batched together.
  void submit(std::shared_ptr<Request> request);
  // The client is gone or does not want the answer. Instances that wait are dropped; those that run are run to their
  // end and forgotten. The request is answered with Cancelled unless it was answered before.
  void cancel(const std::shared_ptr<Request>& request, Status why);
  // Closes batches of the versions that this thread has handed requests or records to since it called last.
  void pump();
  // Takes a record of the lane's done ring. An error means that the worker broke the protocol, and must be ended.
  [[nodiscard]] Status on_record(AttachmentId id, std::span<const std::byte> record);
  // See Hooks::wake_at.
  void tick(ServableId id, Clock::time_point now);

  // Requests accepted and not answered, at most (default 10 000); the next one is refused with ResourceExhausted. One
  // of several servables has at most half of them.
  void set_max_enqueued_requests(std::uint64_t limit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
