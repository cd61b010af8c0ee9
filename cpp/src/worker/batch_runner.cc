#include "worker/batch_runner.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/checked.h"

namespace servoir {
namespace {

// A batch whose rows all fail alike is not run to its end one by one.
constexpr std::uint32_t kFailuresInARow = 8;

bool any_type(const ModelPort& port) { return port.dtype == DataType::kUnknown; }

std::string quoted(const ModelPort& port) { return "'" + port.name + "'"; }

std::string described(DataType dtype, const Shape& shape) { return std::string(name_of(dtype)) + " " + shape.text(); }

}  // namespace

void append_piece(const OutputPiece& piece, std::vector<OutputPiece>* pieces) {
  if (!pieces->empty()) {
    OutputPiece& last = pieces->back();
    const bool alike =
        last.dtype == piece.dtype && last.row_bytes == piece.row_bytes && last.row_shape == piece.row_shape;
    if (alike && (piece.dtype == DataType::kUnknown || last.offset + last.rows * last.row_bytes == piece.offset)) {
      last.rows += piece.rows;
      return;
    }
  }
  pieces->push_back(piece);
}

Result<BatchRunner> BatchRunner::create(ModelSetup setup, const ArenaView* arena) {
  BatchRunner runner(std::move(setup), arena);
  SERVOIR_RETURN_IF_ERROR(runner.examine());
  return runner;
}

Status BatchRunner::examine() {
  const std::vector<ModelPort>& inputs = setup_.model->inputs();
  const std::vector<ModelPort>& outputs = setup_.model->outputs();
  batched_.assign(inputs.size(), setup_.with_batch_dim);
  for (const std::uint32_t index : setup_.unbatched_inputs) {
    if (index >= inputs.size()) {
      return Status::InvalidArgument("input " + std::to_string(index) +
                                     " is said to have no batch dimension, but the " + "model has " +
                                     std::to_string(inputs.size()) + " inputs");
    }
    batched_[index] = false;
  }
  const auto join = [this](const char* side, const ModelPort& port) {
    if (!port.rank_known) return Status::Ok();
    if (port.shape.rank == 0) {
      return Status::InvalidArgument(std::string(side) + quoted(port) + " of the model is a single value; with " +
                                     "with_batch_dim its first dimension must be the batch");
    }
    const std::int64_t first = port.shape.dims[0];
    if (first == kDynamic) return Status::Ok();
    if (first <= 0 || first > UINT32_MAX || (fixed_batch_ != 0 && fixed_batch_ != static_cast<std::uint32_t>(first))) {
      return Status::InvalidArgument(std::string(side) + quoted(port) + " of the model has shape " + port.shape.text() +
                                     "; its first dimension must be the batch" +
                                     (fixed_batch_ != 0 ? ", " + std::to_string(fixed_batch_) : "") +
                                     " as in the model's other inputs and outputs");
    }
    fixed_batch_ = static_cast<std::uint32_t>(first);
    return Status::Ok();
  };
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (batched_[i]) SERVOIR_RETURN_IF_ERROR(join("input ", inputs[i]));
    input_rows_.push_back(batched_[i] && inputs[i].rank_known ? inputs[i].shape.row() : inputs[i].shape);
  }
  for (const ModelPort& port : outputs) {
    if (setup_.with_batch_dim) SERVOIR_RETURN_IF_ERROR(join("output ", port));
    const bool known =
        port.rank_known && !any_type(port) && !(setup_.with_batch_dim ? port.shape.row() : port.shape).dynamic();
    outputs_static_ = outputs_static_ && known;
  }
  gather_.resize(inputs.size());
  inputs_.resize(inputs.size());
  outputs_.resize(outputs.size());
  output_offsets_.resize(outputs.size());
  in_arena_.resize(outputs.size());
  output_scratch_.resize(outputs.size());
  return Status::Ok();
}

void BatchRunner::run(const RunTask& task, TaskRooms* rooms, RowsResult* result) {
  const std::uint32_t rows = task.head.rows;
  result->id = task.head.task;
  result->rows = rows;
  result->run_ns = 0;
  result->failures.clear();
  result->outputs.resize(outputs_.size());
  for (auto& pieces : result->outputs) pieces.clear();

  if (task.inputs.size() != inputs_.size()) {
    const std::string text =
        "the model takes " + std::to_string(inputs_.size()) + " inputs, got " + std::to_string(task.inputs.size());
    for (std::uint32_t row = 0; row < rows; ++row) {
      result->failures.push_back({row, Code::kInvalidArgument, text});
    }
  } else if (!setup_.with_batch_dim) {
    run_alone(task, rooms, result);
  } else {
    const TaskRooms::Mark mark = rooms->mark();
    const std::uint32_t step = fixed_batch_ != 0 ? fixed_batch_ : rows;
    Failed failed;
    for (std::uint32_t first = 0; first < rows && failed.status.ok(); first += step) {
      failed = run_rows(task, first, std::min(step, rows - first), rooms, result);
    }
    if (!failed.status.ok()) {
      for (auto& pieces : result->outputs) pieces.clear();
      rooms->rewind(mark);
      if (failed.each_alone && rows > 1) {
        run_alone(task, rooms, result);
      } else {
        for (std::uint32_t row = 0; row < rows; ++row) {
          result->failures.push_back({row, failed.status.code(), std::string(failed.status.message())});
        }
      }
    }
  }
  if (result->failures.size() == rows) result->outputs.clear();
}

void BatchRunner::run_alone(const RunTask& task, TaskRooms* rooms, RowsResult* result) {
  std::uint32_t in_a_row = 0;
  for (std::uint32_t row = 0; row < task.head.rows; ++row) {
    Failed failed;
    if (in_a_row < kFailuresInARow) {
      failed = run_rows(task, row, 1, rooms, result);
    } else {
      const RowsResult::Failure& last = result->failures.back();
      failed = {Status(last.code, last.text), true};
    }
    if (failed.status.ok()) {
      in_a_row = 0;
      continue;
    }
    const bool alike = in_a_row > 0 && result->failures.back().text == failed.status.message();
    in_a_row = alike ? in_a_row + 1 : 1;
    result->failures.push_back({row, failed.status.code(), std::string(failed.status.message())});
    OutputPiece nothing;
    nothing.rows = 1;
    for (auto& pieces : result->outputs) append_piece(nothing, &pieces);
  }
}

BatchRunner::Failed BatchRunner::run_rows(const RunTask& task, std::uint32_t first, std::uint32_t count,
                                          TaskRooms* rooms, RowsResult* result) {
  const std::uint32_t total = setup_.with_batch_dim && fixed_batch_ != 0 ? fixed_batch_ : count;
  if (Status s = prepare_inputs(task, first, count, total); !s.ok()) return {std::move(s), false};
  if (Status s = prepare_outputs(task, count, total, rooms); !s.ok()) return {std::move(s), false};
  const auto start = std::chrono::steady_clock::now();
  Status executed = setup_.model->execute(inputs_, outputs_);
  result->run_ns += static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count());
  if (!executed.ok()) return {std::move(executed), true};
  if (Status s = take_outputs(task, count, total, rooms, result); !s.ok()) return {std::move(s), false};
  return {};
}

Status BatchRunner::check_instance(std::size_t index, const RunTask::Input& input) const {
  const ModelPort& port = setup_.model->inputs()[index];
  const Shape& wanted = input_rows_[index];
  const auto refuse = [&](const std::string& why) {
    return Status::InvalidArgument("input " + std::to_string(index) + " (" + quoted(port) + ") of the model takes " +
                                   (any_type(port) ? "numbers" : std::string(name_of(port.dtype))) +
                                   (port.rank_known ? " " + wanted.text() : "") + " for an instance, got " +
                                   described(input.dtype, input.row_shape) + why);
  };
  if (any_type(port) ? is_text(input.dtype) : input.dtype != port.dtype) return refuse("");
  if (!port.rank_known) return Status::Ok();
  if (!wanted.dynamic()) {
    SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t need, wanted.byte_size(input.dtype));
    SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t have, input.row_shape.byte_size(input.dtype));
    if (need == have) return Status::Ok();
    return refuse(": " + std::to_string(need) + " bytes are needed, not " + std::to_string(have));
  }
  if (input.row_shape.rank != wanted.rank) return refuse(", which has another number of dimensions");
  for (std::uint32_t d = 0; d < wanted.rank; ++d) {
    if (wanted.dims[d] != kDynamic && wanted.dims[d] != input.row_shape.dims[d]) {
      return refuse(": dimension " + std::to_string(d) + " differs");
    }
  }
  return Status::Ok();
}

Status BatchRunner::prepare_inputs(const RunTask& task, std::uint32_t first, std::uint32_t count, std::uint32_t total) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const RunTask::Input& input = task.inputs[i];
    const ModelPort& port = setup_.model->inputs()[i];
    SERVOIR_RETURN_IF_ERROR(check_instance(i, input));
    SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t row_bytes, input.row_shape.byte_size(input.dtype));
    const bool one = !batched_[i];
    ModelInput& made = inputs_[i];
    made.dtype = input.dtype;
    made.shape = port.rank_known && !input_rows_[i].dynamic() ? input_rows_[i] : input.row_shape;
    if (!one) {
      if (made.shape.rank == kMaxRank) {
        return Status::InvalidArgument("input " + std::to_string(i) + " (" + quoted(port) + ") has " +
                                       std::to_string(kMaxRank) + " dimensions; a batch of it would have one too many");
      }
      made.shape = made.shape.with_rows(total);
    }
    SERVOIR_ASSIGN_OR_RETURN(made.bytes, made.shape.byte_size(made.dtype));
    SERVOIR_ASSIGN_OR_RETURN(made.data,
                             gather_[i].rows(*arena_, input, row_bytes, first, one ? 1 : count, one ? 1 : total));
  }
  return Status::Ok();
}

const BatchRunner::Known* BatchRunner::recall(const RunTask& task) const {
  if (wrong_guesses_ >= kWrongGuesses) return nullptr;
  for (const Known& known : known_) {
    const bool same = std::equal(known.inputs.begin(), known.inputs.end(), task.inputs.begin(),
                                 [](const Form& form, const RunTask::Input& input) {
                                   return form.dtype == input.dtype && form.shape == input.row_shape;
                                 });
    if (same) return &known;
  }
  return nullptr;
}

void BatchRunner::remember(const RunTask& task, const std::vector<OutputPiece>& pieces) {
  Known known;
  for (const RunTask::Input& input : task.inputs) known.inputs.push_back({input.dtype, input.row_shape});
  for (const OutputPiece& piece : pieces) known.outputs.push_back({piece.dtype, piece.row_shape});
  for (Known& old : known_) {
    if (old.inputs == known.inputs) {
      if (old.outputs != known.outputs) ++wrong_guesses_;
      old.outputs = std::move(known.outputs);
      return;
    }
  }
  if (known_.size() < kRemembered) {
    known_.push_back(std::move(known));
  } else {
    known_[next_known_++ % kRemembered] = std::move(known);
  }
}

Status BatchRunner::prepare_outputs(const RunTask& task, std::uint32_t count, std::uint32_t total, TaskRooms* rooms) {
  const std::vector<ModelPort>& ports = setup_.model->outputs();
  const Known* known = outputs_static_ ? nullptr : recall(task);
  std::uint64_t all = 0;
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    ModelOutput& output = outputs_[k];
    output = {};
    in_arena_[k] = false;
    output.expected = outputs_static_ || known != nullptr;
    if (!output.expected) continue;
    output.dtype = known != nullptr ? known->outputs[k].dtype : ports[k].dtype;
    const bool with_rows = setup_.with_batch_dim;
    Shape row = known != nullptr ? known->outputs[k].shape : with_rows ? ports[k].shape.row() : ports[k].shape;
    if (with_rows && row.rank == kMaxRank) {
      output.expected = false;
      continue;
    }
    output.shape = with_rows ? row.with_rows(total) : row;
    SERVOIR_ASSIGN_OR_RETURN(output.bytes, output.shape.byte_size(output.dtype));
    if (!checked_add(round_up(all, TaskRooms::kAlign), output.bytes, &all)) {
      return Status::ResourceExhausted("the outputs of the batch are too large to be addressed");
    }
  }
  // The surplus rows of a batch that was filled up are worth no question to the server: a buffer takes them.
  const bool surplus = total > count && !rooms->fits(all);
  if (!surplus && all != 0) SERVOIR_RETURN_IF_ERROR(rooms->reserve(all));
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    ModelOutput& output = outputs_[k];
    if (!output.expected || output.bytes == 0) continue;
    if (surplus) {
      output.data = output_scratch_[k].at_least(output.bytes);
      if (output.data == nullptr) output.bytes = 0;
      continue;
    }
    SERVOIR_ASSIGN_OR_RETURN(const TaskRooms::Spot spot, rooms->take(output.bytes));
    output.data = spot.data;
    output_offsets_[k] = spot.offset;
    in_arena_[k] = true;
  }
  return Status::Ok();
}

Status BatchRunner::take_outputs(const RunTask& task, std::uint32_t count, std::uint32_t total, TaskRooms* rooms,
                                 RowsResult* result) {
  const std::vector<ModelPort>& ports = setup_.model->outputs();
  pieces_.clear();
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    const ModelOutput& output = outputs_[k];
    OutputPiece piece;
    piece.dtype = output.dtype;
    piece.rows = count;
    piece.row_shape = output.shape;
    if (setup_.with_batch_dim) {
      if (output.shape.rank == 0 || output.shape.dims[0] != static_cast<std::int64_t>(total)) {
        return Status::Internal("output " + std::to_string(k) + " (" + quoted(ports[k]) + ") of the model came with " +
                                "shape " + output.shape.text() + "; its first dimension must be the batch, " +
                                std::to_string(total) + " here");
      }
      piece.row_shape = output.shape.row();
    }
    SERVOIR_ASSIGN_OR_RETURN(piece.row_bytes, piece.row_shape.byte_size(piece.dtype));
    pieces_.push_back(piece);
  }
  std::uint64_t all = 0;
  const auto placed = [&](std::size_t k) {
    if (!in_arena_[k]) return false;
    const auto room = arena_->resolve(output_offsets_[k], outputs_[k].bytes);
    return room.ok() && *room == outputs_[k].data;
  };
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    if (!placed(k)) all = round_up(all, TaskRooms::kAlign) + pieces_[k].row_bytes * count;
  }
  if (all != 0) SERVOIR_RETURN_IF_ERROR(rooms->reserve(all));
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    OutputPiece& piece = pieces_[k];
    if (placed(k)) {
      piece.offset = output_offsets_[k];
    } else {
      const std::uint64_t bytes = piece.row_bytes * count;
      SERVOIR_ASSIGN_OR_RETURN(const TaskRooms::Spot spot, rooms->take(bytes));
      if (bytes != 0) std::memcpy(spot.data, outputs_[k].data, bytes);
      piece.offset = spot.offset;
    }
  }
  if (!outputs_static_) remember(task, pieces_);
  for (std::size_t k = 0; k < outputs_.size(); ++k) append_piece(pieces_[k], &result->outputs[k]);
  return Status::Ok();
}

}  // namespace servoir
