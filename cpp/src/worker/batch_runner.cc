#include "worker/batch_runner.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/checked.h"
#include "base/text.h"
#include "channel/rows.h"
#include "worker/text_rows.h"

namespace servoir {
namespace {

bool any_type(const Port& port) { return port.dtype == DataType::kUnknown; }

}  // namespace

Result<BatchRunner> BatchRunner::create(ModelSetup setup, const ArenaView* arena) {
  BatchRunner runner(std::move(setup), arena);
  SERVOIR_RETURN_IF_ERROR(runner.examine());
  return runner;
}

Status BatchRunner::examine() {
  const std::vector<Port>& inputs = setup_.model->inputs();
  const std::vector<Port>& outputs = setup_.model->outputs();
  const Batching& batching = setup_.batching;
  SERVOIR_ASSIGN_OR_RETURN(const std::uint32_t size, batch_size(inputs, outputs, batching));
  fixed_batch_ = batching.with_batch_dim ? size : 0;
  batched_.assign(inputs.size(), batching.with_batch_dim);
  whole_outputs_.assign(outputs.size(), false);
  if (batching.with_batch_dim) {
    for (const std::uint32_t index : batching.unbatched_inputs) batched_[index] = false;
    for (const std::uint32_t index : batching.unbatched_outputs) whole_outputs_[index] = true;
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    instances_.push_back(inputs[i]);
    if (batched_[i] && inputs[i].rank_known) instances_[i].shape = inputs[i].shape.row();
  }
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Port& port = outputs[k];
    const bool known = port.rank_known && !any_type(port) && !is_text(port.dtype) &&
                       !(has_rows(k) ? port.shape.row() : port.shape).dynamic();
    outputs_static_ = outputs_static_ && known;
  }
  gather_.resize(inputs.size());
  texts_.resize(inputs.size());
  text_rows_.resize(outputs.size());
  inputs_.resize(inputs.size());
  outputs_.resize(outputs.size());
  output_offsets_.resize(outputs.size());
  in_arena_.resize(outputs.size());
  rooms_.resize(outputs.size());
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
  } else {
    // Without a batch dimension each instance is a run of its own.
    const std::uint32_t most = !setup_.batching.with_batch_dim ? 1 : fixed_batch_ != 0 ? fixed_batch_ : rows;
    const auto run = [&](std::uint32_t first, std::uint32_t count) {
      const TaskRooms::Mark mark = rooms->mark();
      Failed failed = run_rows(task, first, count, rooms, result);
      if (!failed.status.ok()) rooms->rewind(mark);
      return failed;
    };
    const auto give_up = [&](std::uint32_t first, std::uint32_t count, const Status& why) {
      for (std::uint32_t row = first; row < first + count; ++row) {
        result->failures.push_back({row, why.code(), std::string(why.message())});
      }
      OutputPiece nothing;
      nothing.rows = count;
      for (auto& pieces : result->outputs) append_piece(nothing, &pieces);
    };
    for (std::uint32_t first = 0; first < rows; first += most) {
      run_halving(first, std::min(most, rows - first), run, give_up);
    }
  }
  if (result->failures.size() == rows) result->outputs.clear();
}

Failed BatchRunner::run_rows(const RunTask& task, std::uint32_t first, std::uint32_t count, TaskRooms* rooms,
                             RowsResult* result) {
  const std::uint32_t total = setup_.batching.with_batch_dim && fixed_batch_ != 0 ? fixed_batch_ : count;
  if (Status s = prepare_inputs(task, first, count, total); !s.ok()) return {std::move(s)};
  if (Failed failed = execute(RoomMarks::Which::kFirst, task, count, total, rooms, result); !failed.status.ok()) {
    return failed;
  }
  if (unwritten_output(RoomMarks::Which::kFirst).has_value()) {
    if (Failed failed = execute(RoomMarks::Which::kSecond, task, count, total, rooms, result); !failed.status.ok()) {
      return failed;
    }
    if (const auto k = unwritten_output(RoomMarks::Which::kSecond); k.has_value()) {
      return {Status::Internal("the backend has not written output " + std::to_string(*k) + " (" +
                               quoted(setup_.model->outputs()[*k].name) + ") of the model, although it says so"),
              true};
    }
  }
  if (Status s = take_outputs(task, count, total, rooms, result); !s.ok()) {
    // A result of a wrong shape may be the doing of a single instance's values; a lack of room is not.
    const bool may_be_some = s.code() != Code::kResourceExhausted;
    return {std::move(s), may_be_some};
  }
  return {};
}

Failed BatchRunner::execute(RoomMarks::Which mark, const RunTask& task, std::uint32_t count, std::uint32_t total,
                            TaskRooms* rooms, RowsResult* result) {
  if (Status s = prepare_outputs(task, count, total, rooms); !s.ok()) return {std::move(s)};
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    rooms_[k] = {outputs_[k].data, outputs_[k].bytes};
    if (rooms_[k].data != nullptr) marks_.put(mark, rooms_[k].data, rooms_[k].bytes);
  }
  const auto start = std::chrono::steady_clock::now();
  Status executed = setup_.model->execute(inputs_, outputs_);
  result->run_ns += static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count());
  if (!executed.ok()) return {std::move(executed), true};
  return {};
}

std::optional<std::size_t> BatchRunner::unwritten_output(RoomMarks::Which mark) const {
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    if (in_room(k) && marks_.is_left(mark, rooms_[k].data, rooms_[k].bytes, outputs_[k].bytes)) return k;
  }
  return std::nullopt;
}

Status BatchRunner::prepare_inputs(const RunTask& task, std::uint32_t first, std::uint32_t count, std::uint32_t total) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const RunTask::Input& input = task.inputs[i];
    const Port& port = instances_[i];
    SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t row_bytes, input.row_shape.byte_size(input.dtype));
    SERVOIR_RETURN_IF_ERROR(fits(static_cast<std::uint32_t>(i), port, input.dtype, input.row_shape, row_bytes));
    const bool one = !batched_[i];
    ModelInput& made = inputs_[i];
    made.dtype = input.dtype;
    made.shape = shape_for(port, input.dtype, input.row_shape);
    if (!one) {
      if (made.shape.rank == kMaxRank) {
        return Status::InvalidArgument("input " + std::to_string(i) + " (" + quoted(port.name) + ") has " +
                                       std::to_string(kMaxRank) + " dimensions; a batch of it would have one too many");
      }
      made.shape = made.shape.with_rows(total);
    }
    if (is_text(input.dtype)) {
      SERVOIR_RETURN_IF_ERROR(
          gather_texts(*arena_, input, first, one ? 1 : count, one ? 1 : total, made.shape, &texts_[i]));
      made.data = texts_[i].data();
      made.bytes = texts_[i].size();
      continue;
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
  const std::vector<Port>& ports = setup_.model->outputs();
  const Known* known = outputs_static_ ? nullptr : recall(task);
  std::uint64_t all = 0;
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    ModelOutput& output = outputs_[k];
    output = {};
    in_arena_[k] = false;
    output.expected = outputs_static_ || known != nullptr;
    if (!output.expected) continue;
    output.dtype = known != nullptr ? known->outputs[k].dtype : ports[k].dtype;
    if (is_text(output.dtype)) {  // of any size
      output.expected = false;
      continue;
    }
    const Shape row = known != nullptr ? known->outputs[k].shape : has_rows(k) ? ports[k].shape.row() : ports[k].shape;
    if (has_rows(k) && row.rank == kMaxRank) {
      output.expected = false;
      continue;
    }
    output.shape = has_rows(k) ? row.with_rows(total) : row;
    SERVOIR_ASSIGN_OR_RETURN(output.bytes, output.shape.byte_size(output.dtype));
    if (!whole_outputs_[k] && !checked_add(round_up(all, TaskRooms::kAlign), output.bytes, &all)) {
      return Status::ResourceExhausted("the outputs of the batch are too large to be addressed");
    }
  }
  // The surplus rows of a batch that was filled up are worth no question to the server: a buffer takes them.
  const bool surplus = total > count && !rooms->fits(all);
  if (!surplus && all != 0) SERVOIR_RETURN_IF_ERROR(rooms->reserve(all));
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    ModelOutput& output = outputs_[k];
    if (!output.expected || output.bytes == 0) continue;
    if (surplus || whole_outputs_[k]) {
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
  const std::vector<Port>& ports = setup_.model->outputs();
  pieces_.clear();
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    const ModelOutput& output = outputs_[k];
    OutputPiece piece;
    piece.dtype = output.dtype;
    piece.rows = count;
    piece.row_shape = output.shape;
    if (has_rows(k)) {
      if (output.shape.rank == 0 || output.shape.dims[0] != static_cast<std::int64_t>(total)) {
        return Status::Internal("output " + std::to_string(k) + " (" + quoted(ports[k].name) +
                                ") of the model came with " + "shape " + output.shape.text() +
                                "; its first dimension must be the batch, " + std::to_string(total) + " here");
      }
      piece.row_shape = output.shape.row();
    }
    SERVOIR_ASSIGN_OR_RETURN(piece.row_bytes, piece.row_shape.byte_size(piece.dtype));
    text_rows_[k].clear();
    if (is_text(piece.dtype)) {
      SERVOIR_ASSIGN_OR_RETURN(text_rows_[k], rows_of_texts({output.data, static_cast<std::size_t>(output.bytes)},
                                                            output.shape, piece.row_shape, count));
      // An output without a batch dimension is the only row, and each instance gets it.
      const std::span<const std::byte> only = text_rows_[k].front();
      text_rows_[k].resize(count, only);
    }
    pieces_.push_back(piece);
  }
  std::uint64_t all = 0;
  const auto placed = [&](std::size_t k) { return in_arena_[k] && in_room(k); };
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    if (placed(k)) continue;
    std::uint64_t bytes = 0;
    for (const std::span<const std::byte> row : text_rows_[k]) bytes += row.size();
    if ((text_rows_[k].empty() && !checked_mul(pieces_[k].row_bytes, count, &bytes)) ||
        !checked_add(round_up(all, TaskRooms::kAlign), bytes, &all)) {
      return Status::ResourceExhausted("the outputs of the batch are too large to be addressed");
    }
  }
  if (all != 0) SERVOIR_RETURN_IF_ERROR(rooms->reserve(all));
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    OutputPiece& piece = pieces_[k];
    if (placed(k)) {
      piece.offset = output_offsets_[k];
      continue;
    }
    if (is_text(piece.dtype)) {
      SERVOIR_RETURN_IF_ERROR(take_texts(k, rooms, result));
      continue;
    }
    const std::uint64_t bytes = piece.row_bytes * count;
    SERVOIR_ASSIGN_OR_RETURN(const TaskRooms::Spot spot, rooms->take(bytes));
    piece.offset = spot.offset;
    if (bytes == 0) continue;
    // Each instance gets a whole output as its own: stages may change what they are given.
    const std::uint64_t copies = whole_outputs_[k] ? count : 1;
    const std::uint64_t copied = bytes / copies;
    for (std::uint64_t i = 0; i < copies; ++i) std::memcpy(spot.data + i * copied, outputs_[k].data, copied);
  }
  if (!outputs_static_) remember(task, pieces_);
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    if (!is_text(pieces_[k].dtype)) append_piece(pieces_[k], &result->outputs[k]);
  }
  return Status::Ok();
}

Status BatchRunner::take_texts(std::size_t k, TaskRooms* rooms, RowsResult* result) {
  std::uint64_t bytes = 0;
  for (const std::span<const std::byte> row : text_rows_[k]) bytes += row.size();
  SERVOIR_ASSIGN_OR_RETURN(const TaskRooms::Spot spot, rooms->take(bytes));
  OutputPiece piece = pieces_[k];
  piece.rows = 1;
  piece.offset = spot.offset;
  std::byte* to = spot.data;
  for (const std::span<const std::byte> row : text_rows_[k]) {
    piece.row_bytes = row.size();
    if (!row.empty()) std::memcpy(to, row.data(), row.size());
    append_piece(piece, &result->outputs[k]);
    to += row.size();
    piece.offset += row.size();
  }
  return Status::Ok();
}

}  // namespace servoir
