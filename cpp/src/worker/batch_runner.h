// BatchRunner: runs the tasks of one model.
//
// Makes tensors of a task's rows, knows or guesses the shapes of the outputs so that the model can write them straight
// into the task's room, and says for each row what came of it. A batch that fails as a whole is run again row by row,
// so that only the guilty instances fail. Belongs to the model lane's thread.
//
// Model and batch
//   with_batch_dim   the first dimension of every input but the unbatched ones, and of every output, is the batch. If
//                    it is a number in the model, a shorter batch is filled up with copies of its first instance and
//                    the surplus results are dropped.
//   without          the model takes one instance at a time, as it is.
//   unbatched input  one value for the batch: that of its first instance.
// An instance is checked against the model by dtype, where the model says it, and by size in bytes; only where the
// model's own shape leaves a dimension open must the instance have the model's number of dimensions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "channel/message.h"
#include "memory/arena.h"
#include "worker/batch_input.h"
#include "worker/model.h"
#include "worker/task_rooms.h"

namespace servoir {

struct ModelSetup {
  std::shared_ptr<Model> model;
  std::uint32_t max_batch = 1;
  bool with_batch_dim = true;
  std::vector<std::uint32_t> unbatched_inputs;
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
  struct Failed {
    Status status;
    bool each_alone = false;  // worth running each row on its own
  };

  BatchRunner(ModelSetup setup, const ArenaView* arena) : setup_(std::move(setup)), arena_(arena) {}
  [[nodiscard]] Status examine();
  void run_alone(const RunTask& task, TaskRooms* rooms, RowsResult* result);
  [[nodiscard]] Failed run_rows(const RunTask& task, std::uint32_t first, std::uint32_t count, TaskRooms* rooms,
                                RowsResult* result);
  [[nodiscard]] Status prepare_inputs(const RunTask& task, std::uint32_t first, std::uint32_t count,
                                      std::uint32_t total);
  [[nodiscard]] Status check_instance(std::size_t index, const RunTask::Input& input) const;
  [[nodiscard]] Status prepare_outputs(const RunTask& task, std::uint32_t count, std::uint32_t total, TaskRooms* rooms);
  [[nodiscard]] Status take_outputs(const RunTask& task, std::uint32_t count, std::uint32_t total, TaskRooms* rooms,
                                    RowsResult* result);
  [[nodiscard]] const Known* recall(const RunTask& task) const;
  void remember(const RunTask& task, const std::vector<OutputPiece>& pieces);

  static constexpr std::size_t kRemembered = 16;
  static constexpr std::uint32_t kWrongGuesses = 4;

  ModelSetup setup_;
  const ArenaView* arena_;
  std::uint32_t fixed_batch_ = 0;
  std::vector<bool> batched_;      // of each input
  std::vector<Shape> input_rows_;  // of each input: what one instance is in the model, dimensions may be open
  bool outputs_static_ = true;     // one instance's outputs have a shape that the file tells
  std::vector<Known> known_;
  std::size_t next_known_ = 0;
  std::uint32_t wrong_guesses_ = 0;  // shapes depend on values: stop guessing

  // Of the current batch; kept to reuse the memory.
  std::vector<BatchInput> gather_;
  std::vector<ModelInput> inputs_;
  std::vector<ModelOutput> outputs_;
  std::vector<std::uint64_t> output_offsets_;  // of the room that an output was given
  std::vector<bool> in_arena_;                 // the room is the task's, not a scratch buffer
  std::vector<Scratch> output_scratch_;
  std::vector<OutputPiece> pieces_;
};

// Adds rows behind those that are there; rows that continue the last piece in memory, dtype and shape become part of
// it.
void append_piece(const OutputPiece& piece, std::vector<OutputPiece>* pieces);

}  // namespace servoir
