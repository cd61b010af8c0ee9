// What the scheduler knows of a lane and of the tasks that the lane holds. It is used under its scheduler's lock only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "channel/message.h"
#include "memory/tensor_ref.h"
#include "schedule/callee_queue.h"
#include "schedule/outbox.h"

namespace servoir {

// A batch that a lane runs, or will run next.
struct RunningTask {
  std::uint64_t id = 0;
  std::uint32_t callee = 0;
  std::uint32_t rows = 0;
  std::uint32_t deaths = 0;  // workers that have died with it before; then it is run apart
  Clock::time_point posted{};
  std::vector<Span> spans;      // in the order of the rows
  std::vector<BlockRef> rooms;  // where the worker may write; by add_room()
  struct Kept {
    std::uint64_t call = 0;
    BlockRef block;
  };
  std::vector<Kept> kept;                       // results of its calls, which it may still read
  std::vector<std::shared_ptr<Request>> calls;  // its calls that are not answered
};

// One more room, kept in the order of the offsets.
void add_room(RunningTask* task, BlockRef room);

// Checks a tensor that a worker claims to have written for this task: it must lie inside a room of the task, and its
// size must be that of its shape. *block is the room.
[[nodiscard]] Status locate(const RunningTask& task, const OutputPiece& piece, BlockRef* block);

// The piece's rows as tensors share `block`; row `row` of them.
[[nodiscard]] TensorRef row_of(const OutputPiece& piece, const BlockRef& block, std::uint32_t row);

// The batch as the worker gets it: rows that are contiguous in memory become one piece.
void describe_batch(std::span<const InputForm> forms, const RunningTask& task, RunTask* out);

// How many rows can surely be described by a record of this size, both in a task and in its result.
[[nodiscard]] std::uint64_t rows_that_fit(const CalleeSpec& callee, std::uint32_t max_record);

// More room that a worker asked for and has not got yet. It waits for the answer.
struct RoomWish {
  std::uint64_t task = 0;
  std::uint64_t bytes = 0;
  Clock::time_point since{};
  std::uint64_t before = 0;  // tasks of lower numbers were there before it
};

struct LaneState {
  std::uint32_t id = 0;  // within its version
  std::shared_ptr<Outbox> outbox;
  std::string name;  // of its worker; the lanes of one worker have the same
  std::vector<std::uint32_t> callees;
  std::deque<RunningTask> tasks;   // oldest first; the worker runs them in this order
  Clock::time_point free_since{};  // when it ended its last task
  Clock::time_point moved{};       // when it was last seen to go on within a task: it called a model, or got room
  bool overdue = false;            // its worker was told of as one that takes too long
  std::uint64_t last_used = 0;     // counts uses, so that idle lanes take turns
  std::uint64_t kept_in_pass = 0;  // it is kept idle for an older batch, in this pass over the ready callees
  std::optional<RoomWish> wish;
  bool draining = false;
  bool leaving = false;              // another lane of its worker was detached, and this one will be
  std::vector<LaneState*> siblings;  // the other lanes of its worker, which dies with what any of them runs
  bool beside = false;  // its worker has died, and ran something else than the first task of this lane and its calls

  // When it began its first task, which it has.
  [[nodiscard]] Clock::time_point busy_since() const { return std::max(tasks.front().posted, free_since); }
  [[nodiscard]] RunningTask* find(std::uint64_t task) {
    for (RunningTask& t : tasks) {
      if (t.id == task) return &t;
    }
    return nullptr;
  }
  [[nodiscard]] bool waits_for_call() const { return !tasks.empty() && !tasks.front().calls.empty(); }
  // Whether it runs a batch that a worker has died with, which nothing else is to run beside.
  [[nodiscard]] bool runs_suspect() const { return !tasks.empty() && tasks.front().deaths > 0; }
  // Whether it runs something that is not a call of the first task of the other lane.
  [[nodiscard]] bool runs_beside(const LaneState& other) const;
  // Whether nothing is posted: a lane that waits for a call to be answered, or for room, cannot start the tasks that
  // follow; a lane that may be about to die would not reach them.
  [[nodiscard]] bool blocked() const { return leaving || wish || waits_for_call() || runs_suspect(); }
};

}  // namespace servoir
