#include "channel/message.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "tensor/text_array.h"

namespace servoir {
namespace {

Status broken(std::string_view record, std::string what) {
  return Status::Internal("a " + std::string(record) + " record " + std::move(what));
}

// The record lies in memory that its writer may still change, so each head is copied once and the copy is checked.
template <typename T>
bool copy_head(MessageReader* reader, T* out) {
  const T* head = reader->get<T>();
  if (head == nullptr) return false;
  std::memcpy(static_cast<void*>(out), head, sizeof(T));
  return true;
}

template <typename T>
bool copy_array(MessageReader* reader, std::uint64_t count, std::vector<T>* out) {
  const auto values = reader->get_array<T>(count);
  if (!values.has_value()) return false;
  out->resize(count);
  if (count > 0) std::memcpy(static_cast<void*>(out->data()), values->data(), count * sizeof(T));
  return true;
}

// Whether nothing but padding is left of a record.
bool only_padding_left(const MessageReader& reader) { return reader.remaining() < 8; }

bool is_shape(const Shape& shape) {
  return shape.rank <= kMaxRank && std::ranges::all_of(shape.view(), [](std::int64_t dim) { return dim >= 0; });
}

// Whether dtype, shape and bytes of a row belong together. A row that failed has no dtype.
bool is_row(DataType dtype, const Shape& shape, std::uint64_t row_bytes) {
  if (!is_shape(shape)) return false;
  if (dtype == DataType::kUnknown) return row_bytes == 0;
  if (!is_known(static_cast<std::uint64_t>(dtype))) return false;
  if (is_text(dtype)) return may_be_texts(shape, row_bytes);
  const Result<std::uint64_t> bytes = shape.byte_size(dtype);
  return bytes.ok() && *bytes == row_bytes;
}

void write_columns(const std::vector<std::vector<OutputPiece>>& columns, MessageWriter* out) {
  for (const std::vector<OutputPiece>& pieces : columns) {
    out->put(OutputHead{static_cast<std::uint32_t>(pieces.size()), 0});
    for (const OutputPiece& piece : pieces) out->put(piece);
  }
}

// Reads `count` columns, each an OutputHead and its pieces, whose rows add up to `rows`.
Status read_columns(std::string_view record, std::uint32_t count, std::uint32_t rows, MessageReader* reader,
                    std::vector<std::vector<OutputPiece>>* out) {
  // This is checked before memory is taken for the columns: each needs at least its head.
  if (count > reader->remaining() / sizeof(OutputHead)) {
    return broken(record, "announces " + std::to_string(count) + " columns, more than it can hold");
  }
  out->resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    OutputHead head;
    std::vector<OutputPiece>& pieces = (*out)[i];
    if (!copy_head(reader, &head) || !copy_array(reader, head.piece_count, &pieces)) {
      return broken(record, "ends inside column " + std::to_string(i));
    }
    std::uint64_t sum = 0;
    for (const OutputPiece& piece : pieces) {
      std::uint64_t bytes = 0;
      if (piece.rows == 0 || !is_row(piece.dtype, piece.row_shape, piece.row_bytes) ||
          !checked_mul(piece.row_bytes, piece.rows, &bytes)) {
        return broken(record, "has, in column " + std::to_string(i) + ", a piece of " + std::to_string(piece.rows) +
                                  " rows of " + std::to_string(piece.row_bytes) + " bytes whose dtype (" +
                                  std::to_string(static_cast<int>(piece.dtype)) + ") and shape (" +
                                  piece.row_shape.text() + ") do not belong to it");
      }
      sum += piece.rows;  // at most 2^32 pieces of 2^32 rows: no overflow
    }
    if (sum != rows) {
      return broken(record, "has " + std::to_string(sum) + " rows in column " + std::to_string(i) + " instead of " +
                                std::to_string(rows));
    }
  }
  return Status::Ok();
}

void write_result(const RowsResult& result, MessageWriter* out) {
  write_columns(result.outputs, out);
  for (const RowsResult::Failure& failure : result.failures) {
    out->put(RowError{failure.row, failure.code, {}, failure.text.size()});
  }
  for (const RowsResult::Failure& failure : result.failures) out->put_text(failure.text);
  out->pad();
}

Status read_failures(std::string_view record, std::uint32_t count, std::uint32_t rows, MessageReader* reader,
                     std::vector<RowsResult::Failure>* out) {
  if (count > rows) {
    return broken(record, "has " + std::to_string(count) + " errors for " + std::to_string(rows) + " rows");
  }
  const auto errors = reader->get_array<RowError>(count);
  if (!errors.has_value()) return broken(record, "ends inside its " + std::to_string(count) + " errors");
  out->resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    RowError error;
    std::memcpy(static_cast<void*>(&error), &(*errors)[i], sizeof(error));
    if (error.row >= rows) {
      return broken(record, "has an error for row " + std::to_string(error.row) + " of " + std::to_string(rows));
    }
    if (error.code == Code::kOk || error.code > Code::kDataLoss) {
      return broken(record, "has the code " + std::to_string(static_cast<int>(error.code)) + " as the error of row " +
                                std::to_string(error.row));
    }
    const auto text = reader->get_text(error.text_bytes);
    if (!text.has_value())
      return broken(record, "ends inside the text of the error of row " + std::to_string(error.row));
    RowsResult::Failure& failure = (*out)[i];
    failure.row = error.row;
    failure.code = error.code;
    failure.text.assign(*text);
  }
  return Status::Ok();
}

}  // namespace

Result<RecordKind> MessageReader::kind() const {
  RecordKind kind{};
  if (rest_.size() < 8) {
    return Status::Internal("a record of " + std::to_string(rest_.size()) +
                            " bytes is shorter than any kind of record");
  }
  std::memcpy(&kind, rest_.data(), sizeof(kind));
  return kind;
}

void write_done(const RowsResult& result, MessageWriter* out) {
  out->put(DoneHead{RecordKind::kDone, result.rows, result.id, static_cast<std::uint32_t>(result.outputs.size()),
                    static_cast<std::uint32_t>(result.failures.size()), result.run_ns});
  write_result(result, out);
}

void write_called(const RowsResult& result, MessageWriter* out) {
  out->put(CalledHead{RecordKind::kCalled, result.rows, result.id, static_cast<std::uint32_t>(result.outputs.size()),
                      static_cast<std::uint32_t>(result.failures.size())});
  write_result(result, out);
}

Status read_rows_result(std::span<const std::byte> record, RowsResult* out) {
  MessageReader reader(record);
  SERVOIR_ASSIGN_OR_RETURN(const RecordKind kind, reader.kind());
  std::string_view name;
  std::uint32_t outputs = 0;
  std::uint32_t errors = 0;
  if (kind == RecordKind::kDone) {
    name = "done";
    DoneHead head;
    if (!copy_head(&reader, &head)) return broken(name, "ends inside its head");
    out->id = head.task;
    out->rows = head.rows;
    out->run_ns = head.run_ns;
    outputs = head.outputs;
    errors = head.errors;
  } else if (kind == RecordKind::kCalled) {
    name = "called";
    CalledHead head;
    if (!copy_head(&reader, &head)) return broken(name, "ends inside its head");
    out->id = head.call;
    out->rows = head.rows;
    out->run_ns = 0;
    outputs = head.outputs;
    errors = head.errors;
  } else {
    return Status::Internal("a record of kind " + std::to_string(static_cast<std::uint32_t>(kind)) +
                            " came where done or called was expected");
  }
  SERVOIR_RETURN_IF_ERROR(read_columns(name, outputs, out->rows, &reader, &out->outputs));
  SERVOIR_RETURN_IF_ERROR(read_failures(name, errors, out->rows, &reader, &out->failures));
  if (!only_padding_left(reader)) {
    return broken(name, "goes on for " + std::to_string(reader.remaining()) + " bytes after its last text");
  }
  return Status::Ok();
}

void write_call(const CallRequest& call, MessageWriter* out) {
  out->put(CallHead{RecordKind::kCall, call.callee, call.task, call.call, call.rows,
                    static_cast<std::uint32_t>(call.inputs.size()), call.released.size()});
  for (const std::uint64_t number : call.released) out->put(number);
  write_columns(call.inputs, out);
}

Status read_call(std::span<const std::byte> record, CallRequest* out) {
  MessageReader reader(record);
  SERVOIR_ASSIGN_OR_RETURN(const RecordKind kind, reader.kind());
  if (kind != RecordKind::kCall) {
    return Status::Internal("a record of kind " + std::to_string(static_cast<std::uint32_t>(kind)) +
                            " came where call was expected");
  }
  CallHead head;
  if (!copy_head(&reader, &head)) return broken("call", "ends inside its head");
  if (head.rows == 0) return broken("call", "has no rows");
  out->task = head.task;
  out->call = head.call;
  out->callee = head.callee;
  out->rows = head.rows;
  if (!copy_array(&reader, head.released, &out->released)) return broken("call", "ends inside the calls it releases");
  SERVOIR_RETURN_IF_ERROR(read_columns("call", head.inputs, head.rows, &reader, &out->inputs));
  for (const std::vector<OutputPiece>& pieces : out->inputs) {
    for (const OutputPiece& piece : pieces) {
      if (piece.dtype == DataType::kUnknown) return broken("call", "has rows without a dtype");
    }
  }
  if (reader.remaining() != 0) {
    return broken("call", "goes on for " + std::to_string(reader.remaining()) + " bytes after its last input");
  }
  return Status::Ok();
}

void write_run(const RunTask& task, MessageWriter* out) {
  RunHead head = task.head;
  head.kind = RecordKind::kRun;
  head.inputs = static_cast<std::uint32_t>(task.inputs.size());
  out->put(head);
  for (const RunTask::Input& input : task.inputs) {
    out->put(InputHead{input.dtype, {}, static_cast<std::uint32_t>(input.pieces.size()), input.row_shape});
    for (const RowRun& piece : input.pieces) out->put(piece);
  }
}

Status read_run(std::span<const std::byte> record, RunTask* out) {
  MessageReader reader(record);
  SERVOIR_ASSIGN_OR_RETURN(const RecordKind kind, reader.kind());
  if (kind != RecordKind::kRun) {
    return Status::Internal("a record of kind " + std::to_string(static_cast<std::uint32_t>(kind)) +
                            " came where run was expected");
  }
  if (!copy_head(&reader, &out->head)) return broken("run", "ends inside its head");
  const std::uint32_t count = out->head.inputs;
  if (count > reader.remaining() / sizeof(InputHead)) {
    return broken("run", "announces " + std::to_string(count) + " inputs, more than it can hold");
  }
  out->inputs.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    InputHead head;
    RunTask::Input& input = out->inputs[i];
    if (!copy_head(&reader, &head) || !copy_array(&reader, head.piece_count, &input.pieces)) {
      return broken("run", "ends inside input " + std::to_string(i));
    }
    if (!is_known(static_cast<std::uint64_t>(head.dtype)) || !is_shape(head.row_shape)) {
      return broken("run", "has no dtype and shape that exist for input " + std::to_string(i));
    }
    input.dtype = head.dtype;
    input.row_shape = head.row_shape;
    std::uint64_t sum = 0;
    for (const RowRun& piece : input.pieces) {
      std::uint64_t bytes = 0;
      if (!checked_add(sum, piece.rows, &sum) || !checked_mul(piece.rows, piece.row_bytes, &bytes)) {
        return broken("run", "has pieces in input " + std::to_string(i) + " that are longer than 64 bits can count");
      }
    }
    if (sum != out->head.rows) {
      return broken("run", "has " + std::to_string(sum) + " rows in input " + std::to_string(i) + " instead of " +
                               std::to_string(out->head.rows));
    }
  }
  if (reader.remaining() != 0) {
    return broken("run", "goes on for " + std::to_string(reader.remaining()) + " bytes after its last input");
  }
  return Status::Ok();
}

}  // namespace servoir
