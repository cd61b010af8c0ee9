// What the scheduler knows of a lane and of the tasks it holds. Under the scheduler's lock only.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "channel/lane.h"
#include "channel/message.h"
#include "memory/tensor_ref.h"
#include "schedule/callee_queue.h"

namespace servoir {

// A batch that a lane runs, or will run next.
struct RunningTask {
  std::uint64_t id = 0;
  std::uint32_t callee = 0;
  std::uint32_t rows = 0;
  std::vector<Span> spans;                      // in the order of the rows
  std::vector<BlockRef> rooms;                  // where the worker may write
  std::vector<BlockRef> kept;                   // results of its calls, which it may still read
  std::vector<std::shared_ptr<Request>> calls;  // its calls that are not answered
};

// A tensor that a worker says it has written for this task: inside one of the task's rooms, its size that of its shape.
[[nodiscard]] Status locate(const RunningTask& task, const OutputPiece& piece, BlockRef* block);

// The piece's rows as tensors share `block`; row `row` of them.
[[nodiscard]] TensorRef row_of(const OutputPiece& piece, const BlockRef& block, std::uint32_t row);

// The batch as the worker gets it: rows that lie one behind the other become one piece.
void describe_batch(std::span<const InputForm> forms, const RunningTask& task, RunTask* out);

// The most rows whose description is sure to fit a record of this size, for tasks and for results.
[[nodiscard]] std::uint64_t rows_that_fit(const CalleeSpec& callee, std::uint32_t max_record);

struct LaneState {
  std::uint64_t id = 0;
  std::uint64_t servable = 0;
  LanePort* port = nullptr;
  std::string name;
  std::vector<std::uint32_t> callees;
  std::deque<RunningTask> tasks;  // oldest first; the worker runs them in this order
  std::uint64_t last_used = 0;    // a counter, so that idle lanes take turns
  bool draining = false;

  [[nodiscard]] RunningTask* find(std::uint64_t task) {
    for (RunningTask& t : tasks) {
      if (t.id == task) return &t;
    }
    return nullptr;
  }
  // A lane that waits for a call cannot start what is posted behind it.
  [[nodiscard]] bool blocked() const { return !tasks.empty() && !tasks.front().calls.empty(); }
};

}  // namespace servoir
