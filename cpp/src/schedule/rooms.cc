// The steps that give batches room for their outputs.
#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "schedule/version_scheduler.h"

namespace servoir {
namespace {

// The guess of how much room an instance needs, until the function has run once.
constexpr std::uint64_t kFirstRoomPerRow = 256;
// The estimate of a callee's output grows at once, and shrinks by a sixteenth of the difference with each batch.
constexpr std::uint64_t kRoomDecay = 16;
// A batch gets no more room than this, and than this part of the arena, whatever its callee gave lately: the worker
// asks for more where it needs more. Where there is no room, it gets so little and asks for the rest.
constexpr std::uint64_t kMostRoom = 16ULL << 20U;
constexpr std::uint64_t kMostRoomPart = 16;
constexpr std::uint64_t kLeastRoom = 4096;
// A batch that finds no room waits for this time after the first that found none, or after the arena was last seen to
// be less full by this part of what is wanted: answers that are ready may not have been sent yet. Later batches are
// refused at once until one finds room again, so that clients who do not read their answers hold up nobody else.
constexpr std::chrono::seconds kUnsent{1};
constexpr std::uint64_t kMovedPart = 16;
constexpr std::uint64_t kMovedBytes = 65536;
// The longest time that a worker's wish also waits for tasks that were there before it.
constexpr std::chrono::seconds kLongestWait{30};
constexpr std::chrono::milliseconds kLookAgain{5};

}  // namespace

std::uint64_t VersionScheduler::first_room_per_row(const CalleeSpec& callee) {
  std::uint64_t bytes = 0;
  for (const PortSpec& port : callee.output_ports) {
    if (!port.is_static() || element_bytes(port.dtype) == 0) continue;
    const Result<std::uint64_t> size = port.shape.byte_size(port.dtype);
    if (size.ok()) bytes += *size;
  }
  return std::max(bytes, kFirstRoomPerRow);
}

void VersionScheduler::saw_output(CalleeState* callee, std::uint64_t bytes, std::uint32_t rows) {
  // Aligned per output, so a little more than the bytes themselves.
  const std::uint64_t per_row = bytes / rows + 1;
  std::uint64_t& estimate = callee->room_per_row;
  estimate = per_row >= estimate ? per_row : estimate - (estimate - per_row) / kRoomDecay;
}

Result<Place> VersionScheduler::room_for_batch(const CalleeState& callee, std::uint32_t rows) const {
  SlabPool& slabs = *around_->slabs;
  const std::uint64_t aligned = kBlockAlign * callee.queue.spec().outputs;
  std::uint64_t bytes = 0;
  if (!checked_mul(callee.room_per_row, rows, &bytes)) bytes = kMostRoom;
  Result<Place> room = slabs.alone(std::min({bytes, kMostRoom, slabs.arena_limit() / kMostRoomPart}) + aligned);
  return room.ok() ? std::move(room) : slabs.alone(kLeastRoom + aligned);
}

bool VersionScheduler::may_get_room(Clock::time_point short_since, std::uint64_t bytes, const LaneState* asking,
                                    Deferred* later) {
  const std::uint64_t used = around_->slabs->arena_usage().in_use;
  if (used + bytes / kMovedPart + kMovedBytes <= used_when_short_) {
    used_when_short_ = used;
    last_freed_ = later->now;
  }
  const bool fresh = later->now - std::max(short_since, last_freed_) < kUnsent;
  const bool older_run =
      asking != nullptr && later->now - asking->wish->since < kLongestWait &&
      std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& numbered) {
        const LaneState& lane = *numbered.second;
        return &lane != asking && !lane.tasks.empty() && !lane.wish && lane.tasks.front().id < asking->wish->before;
      });
  if (!fresh && !older_run) return false;
  wake_at(later->now + kLookAgain, later);
  return true;
}

Status VersionScheduler::on_need_room(LaneState* lane, std::span<const std::byte> record, Deferred* later) {
  const auto* head = MessageReader(record).get<NeedRoomHead>();
  if (head == nullptr) return Status::Internal("a wish for room is cut short");
  if (lane->find(head->task) == nullptr || lane->wish) {
    return Status::Internal(
        "a wish for room for a task that the worker does not hold, or before the last was answered");
  }
  lane->wish = {head->task, head->bytes, later->now, next_task_};
  ++wishes_;
  grant_wish(lane, later);
  return Status::Ok();
}

void VersionScheduler::grant_wishes(Deferred* later) {
  if (wishes_ == 0) return;
  for (const auto& [id, lane] : lanes_) {
    if (lane->wish) grant_wish(lane.get(), later);
  }
}

void VersionScheduler::grant_wish(LaneState* lane, Deferred* later) {
  const RoomWish& wish = *lane->wish;
  RunningTask* task = lane->find(wish.task);
  RoomHead answer;
  answer.task = wish.task;
  Result<Place> room = around_->slabs->alone(wish.bytes);
  if (room.ok()) {
    answer.offset = room->offset;
    answer.bytes = room->block->size();
  } else {
    const bool wanted = std::any_of(task->spans.begin(), task->spans.end(),
                                    [](const Span& span) { return !span.request->progress.answered; });
    const ArenaUsage usage = around_->slabs->arena_usage();
    if (wish_short_since_ == Clock::time_point::max()) {
      wish_short_since_ = later->now;
      used_when_short_ = usage.in_use;
    }
    if (wanted && wish.bytes <= usage.limit && may_get_room(wish_short_since_, wish.bytes, lane, later)) return;
    answer.failed = 1;
    answer.used = usage.in_use;
    answer.limit = usage.limit;
  }
  writer_.clear();
  writer_.put(answer);
  send(*lane, later);
  if (room.ok()) {
    add_room(task, std::move(room->block));
    wish_short_since_ = Clock::time_point::max();
  }
  lane->wish.reset();
  --wishes_;
  lane->moved = later->now;
  watch(*lane, later);
}

}  // namespace servoir
