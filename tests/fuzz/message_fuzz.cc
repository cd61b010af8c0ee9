// A record that could come from a broken worker is read or refused, never read beyond its end; what is read keeps the
// promises of the readers and comes back the same when written and read again.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "channel/message.h"

namespace {

using namespace servoir;  // NOLINT(google-build-using-namespace)

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "message_fuzz: %s\n", what);
  std::abort();
}

// Field by field: the bytes reserved in a piece may differ.
bool same(const std::vector<std::vector<OutputPiece>>& a, const std::vector<std::vector<OutputPiece>>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    for (std::size_t k = 0; k < a[i].size(); ++k) {
      const OutputPiece& x = a[i][k];
      const OutputPiece& y = b[i][k];
      if (x.offset != y.offset || x.row_bytes != y.row_bytes || x.rows != y.rows || x.dtype != y.dtype ||
          x.row_shape != y.row_shape) {
        return false;
      }
    }
  }
  return true;
}

void check_columns(const std::vector<std::vector<OutputPiece>>& columns, std::uint32_t rows) {
  for (const std::vector<OutputPiece>& pieces : columns) {
    std::uint64_t sum = 0;
    for (const OutputPiece& piece : pieces) {
      sum += piece.rows;
      require(piece.row_shape.rank <= kMaxRank, "a rank beyond the limit was let through");
      if (piece.dtype == DataType::kUnknown || is_text(piece.dtype)) continue;
      const auto bytes = piece.row_shape.byte_size(piece.dtype);
      require(bytes.ok() && *bytes == piece.row_bytes, "a row whose shape and bytes disagree was let through");
    }
    require(sum == rows, "rows that do not add up were let through");
  }
}

void rows_result(std::span<const std::byte> record) {
  RowsResult first;
  if (!read_rows_result(record, &first).ok()) return;
  check_columns(first.outputs, first.rows);
  for (const RowsResult::Failure& failure : first.failures) {
    require(failure.row < first.rows && failure.code != Code::kOk, "a failure that cannot be was let through");
  }
  MessageWriter writer;
  const bool done = *MessageReader(record).kind() == RecordKind::kDone;
  (done ? write_done : write_called)(first, &writer);
  RowsResult second;
  require(read_rows_result(writer.bytes(), &second).ok(), "what was written is refused");
  require(first.id == second.id && first.rows == second.rows && first.run_ns == second.run_ns &&
              same(first.outputs, second.outputs) && first.failures.size() == second.failures.size(),
          "a result has changed");
  for (std::size_t i = 0; i < first.failures.size(); ++i) {
    require(first.failures[i].text == second.failures[i].text, "an error text has changed");
  }
}

void call(std::span<const std::byte> record) {
  CallRequest first;
  if (!read_call(record, &first).ok()) return;
  check_columns(first.inputs, first.rows);
  MessageWriter writer;
  write_call(first, &writer);
  CallRequest second;
  require(read_call(writer.bytes(), &second).ok(), "a call that was written is refused");
  require(first.task == second.task && first.call == second.call && first.callee == second.callee &&
              same(first.inputs, second.inputs),
          "a call has changed");
}

void run(std::span<const std::byte> record) {
  RunTask first;
  if (!read_run(record, &first).ok()) return;
  for (const RunTask::Input& input : first.inputs) {
    std::uint64_t sum = 0;
    for (const RowRun& piece : input.pieces) sum += piece.rows;
    require(sum == first.head.rows, "rows of a run that do not add up were let through");
  }
  MessageWriter writer;
  write_run(first, &writer);
  require(writer.bytes().size() == record.size(), "a run has changed its size");
  RunTask second;
  require(read_run(writer.bytes(), &second).ok(), "a run that was written is refused");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Records lie on 8-byte boundaries; a copy of just their size lets the address sanitizer see every step beyond.
  std::vector<std::byte> record(size);
  if (size > 0) std::memcpy(record.data(), data, size);
  rows_result(record);
  call(record);
  run(record);
  return 0;
}
