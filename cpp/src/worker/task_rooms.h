// TaskRooms: the arena memory that the current task may write to, handed out piece by piece.
//
// The room that came with the task first, then rooms asked for when that is used up. The memory is the server's; it is
// good until the task is answered. Used by the lane's one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/checked.h"
#include "base/status.h"
#include "channel/message.h"
#include "memory/arena_view.h"
#include "worker/task_lane.h"

namespace servoir {

class TaskRooms {
 public:
  static constexpr std::uint64_t kAlign = kBlockAlign;

  struct Spot {
    std::uint64_t offset = 0;  // from the start of the arena
    std::byte* data = nullptr;
  };

  // Both outlive this object.
  TaskRooms(const ArenaView* arena, RoomSource* source) : arena_(arena), source_(source) {}

  void begin(const RunHead& task) {
    task_ = task.task;
    room_ = {task.room_offset, task.room_bytes};
    used_ = 0;
  }

  // Whether take() of these bytes, in one or more pieces of kAlign each, needs no question to the server.
  [[nodiscard]] bool fits(std::uint64_t bytes) const { return bytes <= room_.bytes - used_; }
  // Makes fits(bytes) true.
  [[nodiscard]] Status reserve(std::uint64_t bytes) {
    if (fits(bytes)) return Status::Ok();
    SERVOIR_ASSIGN_OR_RETURN(room_, source_->more_room(task_, bytes));
    used_ = 0;
    return Status::Ok();
  }
  // `bytes` of memory, aligned to kAlign (as far as the room is).
  [[nodiscard]] Result<Spot> take(std::uint64_t bytes) {
    SERVOIR_RETURN_IF_ERROR(reserve(bytes));
    Spot spot{room_.offset + used_, nullptr};
    SERVOIR_ASSIGN_OR_RETURN(spot.data, arena_->resolve(spot.offset, bytes));
    used_ = std::min(round_up(used_ + bytes, kAlign), room_.bytes);
    return spot;
  }

  // What was taken since mark() is free again, as far as it came from the current room.
  struct Mark {
    Room room;
    std::uint64_t used = 0;
  };
  [[nodiscard]] Mark mark() const { return {room_, used_}; }
  void rewind(const Mark& mark) { used_ = mark.room.offset == room_.offset ? mark.used : 0; }

 private:
  const ArenaView* arena_;
  RoomSource* source_;
  std::uint64_t task_ = 0;
  Room room_;
  std::uint64_t used_ = 0;  // at most room_.bytes
};

}  // namespace servoir
