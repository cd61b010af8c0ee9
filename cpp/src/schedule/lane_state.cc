#include "schedule/lane_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/checked.h"
#include "tensor/text_array.h"

namespace servoir {

namespace {

Status check_rows_of_texts(const OutputPiece& piece, const BlockRef& room) {
  if (piece.row_shape.rank == 0) return Status::Ok();
  const std::byte* row = room->data() + (piece.offset - room->offset());
  for (std::uint32_t i = 0; i < piece.rows; ++i, row += piece.row_bytes) {
    const Status checked = check_texts(piece.row_shape, {row, static_cast<std::size_t>(piece.row_bytes)});
    if (!checked.ok()) {
      return Status::Internal("a result of " + std::string(name_of(piece.dtype)) + ": " +
                              std::string(checked.message()));
    }
  }
  return Status::Ok();
}

constexpr auto offset_of = [](const BlockRef& room) { return room->offset(); };

}  // namespace

void add_room(RunningTask* task, BlockRef room) {
  task->rooms.insert(std::ranges::upper_bound(task->rooms, room->offset(), {}, offset_of), std::move(room));
}

Status locate(const RunningTask& task, const OutputPiece& piece, BlockRef* block) {
  if (!is_known(static_cast<std::uint64_t>(piece.dtype))) {
    return Status::Internal("a result has dtype number " + std::to_string(static_cast<int>(piece.dtype)));
  }
  if (piece.row_shape.rank > kMaxRank) return Status::Internal("a result has too many dimensions");
  if (!is_text(piece.dtype)) {
    const Result<std::uint64_t> bytes = piece.row_shape.byte_size(piece.dtype);
    if (!bytes.ok()) return bytes.status();
    if (*bytes != piece.row_bytes) {
      return Status::Internal("a result of shape " + piece.row_shape.text() + " has " +
                              std::to_string(piece.row_bytes) + " bytes a row, expected " + std::to_string(*bytes));
    }
  }
  std::uint64_t bytes = 0;
  if (!checked_mul(piece.row_bytes, piece.rows, &bytes)) return Status::Internal("a result's size overflows");
  // Rooms do not overlap, so it lies in the last that starts before it, or in none.
  const auto next = std::ranges::upper_bound(task.rooms, piece.offset, {}, offset_of);
  if (next != task.rooms.begin()) {
    const BlockRef& room = *std::prev(next);
    if (within(piece.offset - room->offset(), bytes, room->size())) {
      *block = room;
      return is_text(piece.dtype) ? check_rows_of_texts(piece, room) : Status::Ok();
    }
  }
  return Status::Internal("a result of " + std::to_string(bytes) + " bytes at offset " + std::to_string(piece.offset) +
                          " lies outside the room of its task");
}

TensorRef row_of(const OutputPiece& piece, const BlockRef& block, std::uint32_t row) {
  return {block, piece.offset + row * piece.row_bytes, piece.row_bytes, piece.dtype, piece.row_shape};
}

void describe_batch(std::span<const InputForm> forms, const RunningTask& task, RunTask* out) {
  out->head.callee = task.callee;
  out->head.task = task.id;
  out->head.rows = task.rows;
  out->head.inputs = static_cast<std::uint32_t>(forms.size());
  out->inputs.resize(forms.size());
  for (std::uint32_t k = 0; k < forms.size(); ++k) {
    RunTask::Input& input = out->inputs[k];
    input.dtype = forms[k].dtype;
    input.row_shape = forms[k].row_shape;
    input.pieces.clear();
    for (const Span& span : task.spans) {
      const std::uint32_t value = span.request->method->spec->stages[span.stage].inputs[k];
      for (std::uint32_t i = span.first; i < span.first + span.count; ++i) {
        const TensorRef& tensor = span.request->at(value, i);
        if (!input.pieces.empty()) {
          RowRun& last = input.pieces.back();
          if (last.row_bytes == tensor.bytes && last.offset + last.row_bytes * last.rows == tensor.offset) {
            ++last.rows;
            continue;
          }
        }
        input.pieces.push_back({tensor.offset, tensor.bytes, 1});
      }
    }
  }
}

std::uint64_t rows_that_fit(const CalleeSpec& callee, std::uint32_t max_record) {
  const std::uint64_t bytes = max_record / 2;  // two tasks may lie in a ring
  const std::uint64_t task_row = sizeof(RowRun) * callee.inputs;
  const std::uint64_t result_row = sizeof(OutputPiece) * callee.outputs + sizeof(RowError);
  const std::uint64_t heads = sizeof(RunHead) + sizeof(InputHead) * callee.inputs + sizeof(OutputHead) * callee.outputs;
  const std::uint64_t row = std::max(task_row, result_row);
  return std::max<std::uint64_t>(1, bytes > heads ? (bytes - heads) / row : 1);
}

bool LaneState::runs_beside(const LaneState& other) const {
  if (tasks.empty() || waits_for_call()) return false;
  const auto is_call_of_other = [&](const Span& span) {
    return other.waits_for_call() && std::ranges::count(other.tasks.front().calls, span.request) > 0;
  };
  return !std::ranges::all_of(tasks.front().spans, is_call_of_other);
}

}  // namespace servoir
