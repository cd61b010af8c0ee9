// BatchRunner: runs the tasks of one model.
//
// Makes tensors of a task's rows, knows or guesses the shapes of the outputs so that the model can write them straight
// into the task's room, and says for each row what came of it. A batch that fails is run again in halves, down to the
// single instance, so that only the guilty instances fail: a batch of n instances costs at most 2n - 1 calls of the
// model. Belongs to the model lane's thread.
//
// Model and batch
//   with_batch_dim   the first dimension of every input but the unbatched ones, and of every output, is the batch. If
//                    it is a number in the model, a shorter batch is filled up with copies of its first instance and
//                    the surplus results are dropped.
//   without          the model takes one instance at a time, as it is.
//   unbatched input  one value for the batch: that of its first instance.
//   unbatched output each instance gets the whole of it.
// An instance is checked against the model by dtype, where the model says it, and by size in bytes; only where the
// model's own shape leaves a dimension open must the instance have the model's number of dimensions. Texts have any
// size: for them the shape decides.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "channel/message.h"
#include "memory/arena_view.h"
#include "native/model.h"
#include "worker/batch_input.h"
#include "worker/batching.h"
#include "worker/halving.h"
#include "worker/room_marks.h"
#include "worker/task_rooms.h"

namespace servoir {

struct ModelSetup {
  std::shared_ptr<Model> model;
  std::uint32_t max_batch = 1;
  Batching batching = {};
  RoomMarks::Extent marks = RoomMarks::Extent::kEnd;
};

class BatchRunner {
 public:
  // InvalidArgument when the model's inputs and outputs contradict the setup. The arena outlives the runner.
  static Result<BatchRunner> create(ModelSetup setup, const ArenaView* arena);

  // Every row of *result then has its outputs or a failure.
  void run(const RunTask& task, TaskRooms* rooms, RowsResult* result);

  // The number in the model, 0 if its batch dimension is dynamic.
  [[nodiscard]] std::uint32_t fixed_batch() const { return fixed_batch_; }

 private:
  struct Form {
    DataType dtype = DataType::kUnknown;
    Shape shape;  // of one instance
    bool operator==(const Form&) const = default;
  };
  // What one instance's outputs were for inputs of these forms: good enough to prepare the rooms.
  struct Known {
    std::vector<Form> inputs;
    std::vector<Form> outputs;
  };
  BatchRunner(ModelSetup setup, const ArenaView* arena)
      : setup_(std::move(setup)), arena_(arena), marks_(setup_.marks) {}
  [[nodiscard]] Status examine();
  [[nodiscard]] Failed run_rows(const RunTask& task, std::uint32_t first, std::uint32_t count, TaskRooms* rooms,
                                RowsResult* result);
  // Runs the model on the inputs that are prepared, with this mark in the rooms of its outputs.
  [[nodiscard]] Failed execute(RoomMarks::Which mark, const RunTask& task, std::uint32_t count, std::uint32_t total,
                               TaskRooms* rooms, RowsResult* result);
  // An output that is said to be in its room, where the mark still is.
  [[nodiscard]] std::optional<std::size_t> unwritten_output(RoomMarks::Which mark) const;
  [[nodiscard]] bool in_room(std::size_t k) const {
    return rooms_[k].data != nullptr && outputs_[k].data == rooms_[k].data;
  }
  [[nodiscard]] bool has_rows(std::size_t k) const { return setup_.batching.with_batch_dim && !whole_outputs_[k]; }
  [[nodiscard]] Status prepare_inputs(const RunTask& task, std::uint32_t first, std::uint32_t count,
                                      std::uint32_t total);
  [[nodiscard]] Status prepare_outputs(const RunTask& task, std::uint32_t count, std::uint32_t total, TaskRooms* rooms);
  [[nodiscard]] Status take_outputs(const RunTask& task, std::uint32_t count, std::uint32_t total, TaskRooms* rooms,
                                    RowsResult* result);
  // Puts the rows of an output of texts into the task's room.
  [[nodiscard]] Status take_texts(std::size_t k, TaskRooms* rooms, RowsResult* result);
  [[nodiscard]] const Known* recall(const RunTask& task) const;
  void remember(const RunTask& task, const std::vector<OutputPiece>& pieces);

  static constexpr std::size_t kRemembered = 16;
  static constexpr std::uint32_t kWrongGuesses = 4;

  ModelSetup setup_;
  const ArenaView* arena_;
  RoomMarks marks_;
  std::uint32_t fixed_batch_ = 0;
  std::vector<bool> batched_;        // of each input
  std::vector<bool> whole_outputs_;  // of each output: each instance gets the whole of it
  std::vector<Port> instances_;      // of each input: what one instance is
  bool outputs_static_ = true;       // one instance's outputs have a shape that the file tells
  std::vector<Known> known_;
  std::size_t next_known_ = 0;
  std::uint32_t wrong_guesses_ = 0;  // shapes depend on values: stop guessing

  // Of the current batch; kept to reuse the memory.
  std::vector<BatchInput> gather_;
  std::vector<std::vector<std::byte>> texts_;                       // of each input of texts
  std::vector<std::vector<std::span<const std::byte>>> text_rows_;  // of each output of texts
  std::vector<ModelInput> inputs_;
  std::vector<ModelOutput> outputs_;
  std::vector<std::uint64_t> output_offsets_;  // of the room that an output was given
  std::vector<bool> in_arena_;                 // the room is the task's, not a scratch buffer
  std::vector<Scratch> output_scratch_;
  struct GivenRoom {
    std::byte* data = nullptr;
    std::uint64_t bytes = 0;
  };
  std::vector<GivenRoom> rooms_;  // of each output, before the run
  std::vector<OutputPiece> pieces_;
};

}  // namespace servoir
