#include "value_table.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "channel/rows.h"

namespace servoir::bindings {
namespace {

// How many of the last groups are searched for values of the same form; where shapes differ more than that, the order
// of the values does not matter.
constexpr std::size_t kGroupsLookedAt = 16;
// What a group takes at once, at most, unless one row is more: shapes that differ must not multiply into gigabytes.
constexpr std::uint64_t kGroupBytes = 16U << 20U;

}  // namespace

void ValueTable::begin(std::uint32_t rows, std::uint32_t columns, TaskRooms* rooms) {
  rows_ = rows;
  next_row_ = 0;
  rooms_ = rooms;
  values_.resize(columns);
  columns_.resize(columns);
  for (Column& column : columns_) {
    column.groups.clear();
    column.pieces.clear();
  }
}

std::size_t ValueTable::find_group(const Value& value, std::uint32_t rows_left, Column* column) const {
  std::vector<Group>& groups = column->groups;
  const std::size_t last = groups.size() - std::min(groups.size(), kGroupsLookedAt);
  for (std::size_t i = groups.size(); i > last; --i) {
    const Group& group = groups[i - 1];
    if (group.used < group.capacity && group.dtype == value.dtype() && group.row_bytes == value.bytes() &&
        group.shape == value.shape()) {
      return i - 1;
    }
  }
  // Only the first shape is taken for the rule. Texts are seldom of one length.
  std::uint64_t capacity = 1;
  if (groups.empty() && !is_text(value.dtype())) {
    capacity = std::max<std::uint64_t>(1, kGroupBytes / std::max<std::uint64_t>(1, value.bytes()));
  } else if (!groups.empty() && groups.back().dtype == value.dtype() && groups.back().shape == value.shape() &&
             groups.back().row_bytes == value.bytes()) {
    capacity = 2ULL * groups.back().capacity;  // it was full
  }
  capacity = std::min<std::uint64_t>(capacity, rows_left);
  groups.push_back({value.dtype(), value.shape(), value.bytes(), static_cast<std::uint32_t>(capacity), 0, {}});
  return groups.size() - 1;
}

Status ValueTable::set(std::uint32_t row, const py::handle* values) {
  for (std::size_t k = 0; k < columns_.size(); ++k) {
    Status status = values_[k].read(values[k].ptr());
    if (!status.ok()) {
      const std::string place = columns_.size() == 1 ? "" : "value " + std::to_string(k) + ": ";
      return {status.code(), place + std::string(status.message())};
    }
  }
  // All new groups together ask for room at most once.
  std::uint64_t needed = 0;
  for (std::size_t k = 0; k < columns_.size(); ++k) {
    Column& column = columns_[k];
    column.group = find_group(values_[k], rows_ - row, &column);
    const Group& group = column.groups[column.group];
    if (group.spot.data == nullptr) needed = round_up(needed, TaskRooms::kAlign) + group.row_bytes * group.capacity;
  }
  Status status;
  if (needed != 0) status = rooms_->reserve(needed);
  for (Column& column : columns_) {
    Group& group = column.groups[column.group];
    if (!status.ok()) break;
    if (group.spot.data != nullptr) continue;
    auto spot = rooms_->take(group.row_bytes * group.capacity);
    if (spot.ok()) {
      group.spot = *spot;
    } else {
      status = spot.status();
    }
  }
  for (std::size_t k = 0; k < columns_.size() && status.ok(); ++k) {
    const Group& group = columns_[k].groups[columns_[k].group];
    status = values_[k].write(group.spot.data + group.row_bytes * group.used);
  }
  for (Value& value : values_) value.clear();
  if (!status.ok()) {
    // The rows that follow cannot use groups without memory.
    for (Column& column : columns_) {
      if (column.groups.back().spot.data == nullptr) column.groups.pop_back();
    }
    return status;
  }
  append_absent(row);
  for (Column& column : columns_) {
    Group& group = column.groups[column.group];
    OutputPiece piece;
    piece.offset = group.spot.offset + group.row_bytes * group.used++;
    piece.row_bytes = group.row_bytes;
    piece.rows = 1;
    piece.dtype = group.dtype;
    piece.row_shape = group.shape;
    append_piece(piece, &column.pieces);
  }
  next_row_ = row + 1;
  return Status::Ok();
}

void ValueTable::append_absent(std::uint32_t until) {
  if (until <= next_row_) return;
  OutputPiece absent;
  absent.rows = until - next_row_;
  for (Column& column : columns_) append_piece(absent, &column.pieces);
}

void ValueTable::finish(std::vector<std::vector<OutputPiece>>* pieces) {
  append_absent(rows_);
  pieces->resize(columns_.size());
  for (std::size_t k = 0; k < columns_.size(); ++k) std::swap((*pieces)[k], columns_[k].pieces);
}

}  // namespace servoir::bindings
