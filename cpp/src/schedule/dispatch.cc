// Closing batches and posting them to lanes.
#include <algorithm>

#include "base/checked.h"
#include "schedule/batch_policy.h"
#include "schedule/scheduler_impl.h"

namespace servoir {
namespace {

// Later stages first: what is in the pipeline leaves it before anything new comes in. Calls come before all, a lane
// waits for them.
std::uint32_t depth_of(const Span& span) { return span.request->progress.internal ? ~0U : span.stage; }

}  // namespace

void Scheduler::Impl::mark_ready(CalleeState* callee) {
  if (callee->ready) return;
  callee->ready = true;
  ready.push_back(callee);
}

void Scheduler::Impl::pump(Clock::time_point now, Deferred* later) {
  bool progress = true;
  while (progress && !ready.empty()) {
    progress = false;
    std::erase_if(ready, [](CalleeState* callee) {
      if (!callee->queue.empty()) return false;
      callee->ready = false;
      return true;
    });
    if (ready.size() > 1) {
      std::sort(ready.begin(), ready.end(), [](CalleeState* a, CalleeState* b) {
        const Span& x = a->queue.front()->oldest();
        const Span& y = b->queue.front()->oldest();
        if (depth_of(x) != depth_of(y)) return depth_of(x) > depth_of(y);
        return x.order < y.order;
      });
    }
    for (std::size_t i = 0; i < ready.size() && !progress; ++i) progress = dispatch(ready[i], now, later);
  }
}

// Posts at most one batch of the callee; whether it did.
bool Scheduler::Impl::dispatch(CalleeState* callee, Clock::time_point now, Deferred* later) {
  CalleeQueue::Group* group = callee->queue.front();
  if (group == nullptr) return false;
  LaneState* best = nullptr;
  std::uint64_t idle = 0;
  for (LaneState* lane : callee->lanes) {
    if (lane->draining || lane->blocked()) continue;
    if (lane->tasks.empty()) ++idle;
    if (best == nullptr || lane->tasks.size() < best->tasks.size() ||
        (lane->tasks.size() == best->tasks.size() && lane->last_used < best->last_used)) {
      best = lane;
    }
  }
  if (best == nullptr) return false;
  const CalleeSpec& spec = callee->queue.spec();
  std::uint64_t max_batch = std::min<std::uint64_t>(spec.max_batch, rows_that_fit(spec, best->port->max_record()));
  if (spec.called_singly) max_batch = rows_of_a_trip(max_batch, callee->ns_per_row);
  const QueueSnapshot snapshot{group->waiting,
                               max_batch,
                               now - group->oldest().since,
                               spec.max_queue_delay,
                               static_cast<std::uint32_t>(best->tasks.size()),
                               may_post_ahead(callee->lanes.size(), max_batch, callee->ns_per_row)};
  switch (decide(snapshot)) {
    case BatchDecision::kHold:
      return false;
    case BatchDecision::kDelay: {
      const Clock::time_point due = group->oldest().since + spec.max_queue_delay;
      if (due < armed || armed <= now) {
        armed = due;
        later->wake = due;
      }
      return false;
    }
    case BatchDecision::kClose:
      break;
  }
  // Several idle lanes share what is there, so that one request's instances run side by side.
  std::uint64_t rows = max_batch;
  if (idle > 1) rows = std::min(rows, (group->waiting + idle - 1) / idle);
  return post_batch(callee, group, best, rows, later);
}

bool Scheduler::Impl::post_batch(CalleeState* callee, CalleeQueue::Group* group, LaneState* lane, std::uint64_t rows,
                                 Deferred* later) {
  RunningTask task;
  task.id = next_task++;
  task.callee = callee->index;
  // The forms are needed after take(), which may drop an empty group.
  const std::vector<InputForm> forms = group->inputs;
  task.spans = callee->queue.take(group, rows);
  for (const Span& span : task.spans) task.rows += span.count;
  if (task.rows == 0) return true;  // all of them had been answered; there may be more

  std::uint64_t room_bytes = 0;
  const CalleeSpec& spec = callee->queue.spec();
  if (!checked_mul(callee->room_per_row, task.rows, &room_bytes)) room_bytes = callee->room_per_row;
  room_bytes += kBlockAlign * spec.outputs;
  Result<BlockRef> room = arena->allocate(room_bytes);
  if (!room.ok()) {
    for (const Span& span : task.spans) {
      if (span.request->progress.answered) continue;
      for (std::uint32_t i = span.first; i < span.first + span.count; ++i) {
        flow_fail(span.request.get(), i,
                  stage_failure(*span.request, span.stage, room.status().code(), room.status().message()));
      }
      if (flow_finished(*span.request)) answer(span.request, later);
    }
    return true;
  }
  describe_batch(forms, task, &run_task);
  run_task.head.room_offset = (*room)->offset();
  run_task.head.room_bytes = (*room)->size();
  task.rooms.push_back(std::move(*room));
  writer.clear();
  write_run(run_task, &writer);
  if (!lane->port->post(writer.bytes())) {
    // The lane does not empty its ring: it gets nothing more until it has answered something.
    callee->queue.put_back(task.spans);
    return false;
  }
  for (const Span& span : task.spans) ++span.request->progress.running;
  lane->last_used = ++use_counter;
  lane->tasks.push_back(std::move(task));
  if (callee->queue.empty()) {
    for (std::uint32_t i = 0; i < spec.inputs; ++i) {
      slabs->batch_boundary(slab_consumer(callee->servable->id, callee->index, i));
    }
  }
  return true;
}

}  // namespace servoir
