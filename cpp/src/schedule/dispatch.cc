// The scheduler's steps that close batches and post them to lanes.
#include <algorithm>
#include <iterator>

#include "schedule/batch_policy.h"
#include "schedule/version_scheduler.h"

namespace servoir {
namespace {

// A callee whose part of a batch waits for an idle lane lets so many full batches of younger requests be queued on that
// lane ahead of it, which keeps the lane busy. After that the lane is kept for it.
constexpr std::uint32_t kMostPassedOver = 4;
// So long a batch that a worker died with waits for a worker that runs nothing else, which says most about it.
constexpr std::chrono::seconds kWaitsApart{1};

}  // namespace

void VersionScheduler::mark_ready(CalleeState* callee) {
  if (callee->ready) return;
  callee->ready = true;
  ready_.push_back(callee);
}

void VersionScheduler::dispatch_all(Deferred* later) {
  grant_wishes(later);
  if (has_suspects_) has_suspects_ = std::ranges::any_of(callees_, [](const auto& c) { return !c->suspects.empty(); });
  bool progress = true;
  while (progress && !ready_.empty()) {
    progress = false;
    std::erase_if(ready_, [](CalleeState* callee) {
      if (!callee->queue.empty() || !callee->suspects.empty()) return false;
      callee->ready = false;
      return true;
    });
    if (ready_.size() > 1) {
      // By priority, and then the oldest request first, whichever stage it has come to. Within a method that is the
      // later stage, so that what is in the pipeline leaves it before anything new comes in; across methods nothing
      // waits for requests that came after it, however many there are.
      std::sort(ready_.begin(), ready_.end(), [](CalleeState* a, CalleeState* b) {
        if (a->urgency() != b->urgency()) return a->urgency() < b->urgency();
        const Span& x = a->first();
        const Span& y = b->first();
        if (a->age() != b->age()) return a->age() < b->age();
        return x.stage != y.stage ? x.stage > y.stage : x.turn < y.turn;
      });
    }
    ++pass_;
    for (std::size_t i = 0; i < ready_.size() && !progress; ++i) {
      LaneState* lane = nullptr;
      progress = dispatch(ready_[i], &lane, later);
      if (lane == nullptr) continue;
      if (progress) {
        ready_[i]->passed_over = 0;
        for (std::size_t k = 0; k < i; ++k) {
          if (std::find(ready_[k]->lanes.begin(), ready_[k]->lanes.end(), lane) != ready_[k]->lanes.end()) {
            ++ready_[k]->passed_over;
          }
        }
      } else if (ready_[i]->passed_over >= kMostPassedOver) {
        for (LaneState* kept : ready_[i]->lanes) kept->kept_in_pass = pass_;
      }
    }
  }
}

// Posts at most one batch of the callee, and returns whether it did. *chosen is the lane that got the batch or is not
// free for it; it is null if the callee waits for something else.
bool VersionScheduler::dispatch(CalleeState* callee, LaneState** chosen, Deferred* later) {
  if (callee->suspects_first()) return dispatch_suspects(callee, chosen, later);
  LaneState* best = nullptr;
  std::uint64_t idle = 0;
  for (LaneState* lane : callee->lanes) {
    if (lane->draining || lane->blocked() || leaves_apart(*lane, later->now)) continue;
    if (lane->tasks.empty()) ++idle;
    if (best == nullptr || lane->tasks.size() < best->tasks.size() ||
        (lane->tasks.size() == best->tasks.size() && lane->last_used < best->last_used)) {
      best = lane;
    }
  }
  if (best == nullptr) return false;
  const CalleeSpec& spec = callee->queue.spec();
  std::uint64_t max_batch = std::min<std::uint64_t>(spec.max_batch, rows_that_fit(spec, best->outbox->max_record()));
  if (spec.called_singly) max_batch = rows_of_a_trip(max_batch, callee->ns_per_row);
  RunningTask task;
  task.callee = callee->index;
  CalleeQueue::Level* level = callee->queue.first();
  CalleeQueue::Group* group = nullptr;
  BatchDecision decision = BatchDecision::kDelay;
  for (; level != nullptr; level = callee->queue.next(level)) {
    group = level->queue.front();
    decision = decide({callee->queue.alike(*group), max_batch, later->now - group->first().since, spec.max_queue_delay,
                       static_cast<std::uint32_t>(best->tasks.size()),
                       may_post_ahead(callee->lanes.size(), max_batch, callee->ns_per_row)});
    if (decision != BatchDecision::kDelay) break;
    // Others need not wait for it: neither a whole batch nor those whose delay has run out.
    wake_at(group->first().since + spec.max_queue_delay, later);
    group = level->queue.full(max_batch);
    if (group != nullptr) break;
  }
  if (group == nullptr) return false;
  *chosen = best;
  if (decision == BatchDecision::kHold) return false;
  if (!best->tasks.empty() && best->kept_in_pass == pass_) return false;
  // Several idle lanes share what waits, so that the instances of a request run at the same time.
  std::uint64_t rows = max_batch;
  if (idle > 1) rows = std::min(rows, (callee->queue.alike(*group) + idle - 1) / idle);
  const std::uint32_t passed = level->passed;
  task.spans = take_batch(callee, level, group, rows, *best, later);
  refuse_deadly(callee, &task.spans, later);
  callee->ran_suspects = false;
  if (task.spans.empty()) return true;  // their requests had all been answered; there may be more
  if (!post_batch(callee, std::move(task), best, later)) {
    level->passed = passed;  // it waits for room, and keeps its turn
    return false;
  }
  for (const std::uint32_t other : best->callees) callees_[other]->queue.passed_by(level->priority);
  return true;
}

std::vector<Span> VersionScheduler::take_batch(CalleeState* callee, CalleeQueue::Level* level,
                                               CalleeQueue::Group* group, std::uint64_t rows, const LaneState& lane,
                                               Deferred* later) {
  TooLate too_late;
  if (!deadlines_.empty()) {
    const std::uint64_t expected = std::min(rows, callee->queue.alike(*group));
    const Clock::time_point begin = later->now + time_until_free(lane, later->now);
    too_late = [this, expected, begin](const Span& span) {
      mutex_.assert_held();
      return this->too_late(span, expected, begin);
    };
  }
  std::vector<Span> late;
  std::vector<Span> taken = callee->queue.take(level, group, rows, next_arrival_++, too_late, &late);
  // If that leaves nothing for an idle worker, one is run all the same, to see how long it takes now.
  std::vector<Span> tried;
  if (taken.empty() && !late.empty() && lane.tasks.empty()) {
    tried.push_back(std::move(late.back()));
    late.pop_back();
  }
  if (late.empty() && tried.empty()) return taken;
  drop_late(callee, &late, later);
  tried = those_wanted(tried);
  std::ranges::move(cut_off(&tried, static_cast<std::uint32_t>(rows)), std::back_inserter(taken));
  callee->queue.put_back(tried);
  taken = those_wanted(taken);  // a request that was dropped may have instances in several stages
  return taken;
}

bool VersionScheduler::dispatch_suspects(CalleeState* callee, LaneState** chosen, Deferred* later) {
  const auto quiet = [](const LaneState* lane) {
    return std::ranges::all_of(lane->siblings,
                               [](const LaneState* other) { return other->tasks.empty() || other->waits_for_call(); });
  };
  LaneState* idle = nullptr;
  LaneState* apart = nullptr;
  for (LaneState* lane : callee->lanes) {
    if (lane->draining || lane->blocked()) continue;
    *chosen = lane;
    if (!lane->tasks.empty()) continue;
    idle = lane;
    if (apart == nullptr && quiet(lane)) apart = lane;
  }
  if (idle == nullptr) return false;
  *chosen = apart != nullptr ? apart : idle;
  if (apart == nullptr) {
    callee->apart_until = std::min(callee->apart_until, later->now + kWaitsApart);
    if (later->now < callee->apart_until) {
      wake_at(callee->apart_until, later);
      return false;
    }
  }
  callee->apart_until = Clock::time_point::max();
  RunningTask task;
  task.callee = callee->index;
  Suspects::Batch batch = callee->suspects.take();
  task.spans = those_wanted(batch.spans);
  task.deaths = batch.deaths;
  callee->ran_suspects = true;
  return post_batch(callee, std::move(task), *chosen, later);
}

bool VersionScheduler::leaves_apart(const LaneState& lane, Clock::time_point now) const {
  for (const LaneState* other : lane.siblings) {
    if (other->runs_suspect()) {
      if (!other->waits_for_call()) return true;
      continue;  // it needs this lane for its call
    }
    if (!has_suspects_ || !other->tasks.empty() || other->draining || other->blocked()) continue;
    for (const std::uint32_t index : other->callees) {
      if (callees_[index]->suspects_first() && now < callees_[index]->apart_until) return true;
    }
  }
  return false;
}

bool VersionScheduler::post_batch(CalleeState* callee, RunningTask task, LaneState* lane, Deferred* later) {
  task.rows = rows_of(task.spans);
  if (task.rows == 0) return true;  // their requests had all been answered; there may be more
  task.id = next_task_++;
  Result<Place> room = room_for_batch(*callee, task.rows);
  if (!room.ok()) {
    short_since_ = std::min(short_since_, later->now);
    if (may_get_room(short_since_, kBlockAlign, nullptr, later)) {
      put_back(callee, &task);
      return false;
    }
    for (const Span& span : task.spans) fail_instances(span, room.status().code(), room.status().message(), later);
    return true;
  }
  short_since_ = Clock::time_point::max();
  const CalleeSpec& spec = callee->queue.spec();
  std::vector<InputForm> forms;
  const Span& any = task.spans.front();
  for (std::uint32_t i = 0; i < spec.inputs; ++i) {
    forms.push_back(form_of(spec, *any.request, any.stage, any.first, i));
  }
  describe_batch(forms, task, &run_task_);
  run_task_.head.room_offset = room->offset;
  run_task_.head.room_bytes = room->block->size();
  add_room(&task, std::move(room->block));
  writer_.clear();
  write_run(run_task_, &writer_);
  send(*lane, later);
  for (const Span& span : task.spans) ++span.request->progress.running;
  lane->last_used = ++use_counter_;
  task.posted = later->now;
  lane->tasks.push_back(std::move(task));
  if (lane->tasks.size() == 1) watch(*lane, later);
  if (callee->queue.empty()) {
    for (std::uint32_t i = 0; i < spec.inputs; ++i) {
      around_->slabs->batch_boundary(slab_consumer(id_, callee->index, i));
    }
  }
  return true;
}

}  // namespace servoir
