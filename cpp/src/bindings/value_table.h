// ValueTable: the Python values of some rows, on their way into the arena.
//
// Rows are instances, columns the outputs of a function (or the inputs of a model call). A row's values are copied when
// they are set, since a function may use the same array for its next result. Rows of one column with the same dtype and
// shape are contiguous, so that they can be a batch of the next stage without being moved; for that, the
// first of them takes room for all rows that may follow. The interpreter lock is held by every caller.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "channel/message.h"
#include "numpy_values.h"
#include "worker/task_rooms.h"

namespace servoir::bindings {

class ValueTable {
 public:
  // A new table, without rows yet.
  void begin(std::uint32_t rows, std::uint32_t columns, TaskRooms* rooms);
  // The values of a row, which comes after those that were set before. Not ok: the row stays absent.
  [[nodiscard]] Status set(std::uint32_t row, const py::handle* values);
  // For each column the pieces of all rows; absent ones have no dtype.
  void finish(std::vector<std::vector<OutputPiece>>* pieces);

 private:
  // Room for values of one column that are alike.
  struct Group {
    DataType dtype = DataType::kUnknown;
    Shape shape;
    std::uint64_t row_bytes = 0;
    std::uint32_t capacity = 0;  // rows
    std::uint32_t used = 0;
    TaskRooms::Spot spot;
  };
  struct Column {
    std::vector<Group> groups;
    std::vector<OutputPiece> pieces;
    std::size_t group = 0;  // of the current value
  };
  // The group with room for the value; makes a group, without memory yet, if there is none.
  [[nodiscard]] std::size_t find_group(const Value& value, std::uint32_t rows_left, Column* column) const;
  void append_absent(std::uint32_t until);

  std::uint32_t rows_ = 0;
  std::uint32_t next_row_ = 0;
  TaskRooms* rooms_ = nullptr;
  std::vector<Value> values_;  // of the current row
  std::vector<Column> columns_;
};

}  // namespace servoir::bindings
