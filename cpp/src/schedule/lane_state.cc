#include "schedule/lane_state.h"

#include <algorithm>

#include "base/checked.h"

namespace servoir {

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
  for (const BlockRef& room : task.rooms) {
    if (piece.offset >= room->offset() && within(piece.offset - room->offset(), bytes, room->size())) {
      *block = room;
      return Status::Ok();
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
          Piece& last = input.pieces.back();
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
  const std::uint64_t task_row = sizeof(Piece) * callee.inputs;
  const std::uint64_t result_row = sizeof(OutputPiece) * callee.outputs + sizeof(RowError);
  const std::uint64_t heads = sizeof(RunHead) + sizeof(InputHead) * callee.inputs + sizeof(OutputHead) * callee.outputs;
  const std::uint64_t row = std::max(task_row, result_row);
  return std::max<std::uint64_t>(1, bytes > heads ? (bytes - heads) / row : 1);
}

}  // namespace servoir
