#include "worker/text_rows.h"

#include <algorithm>
#include <string_view>

#include "base/checked.h"
#include "tensor/text_array.h"

namespace servoir {
namespace {

void append(std::span<const std::byte> bytes, std::vector<std::byte>* to) {
  to->insert(to->end(), bytes.begin(), bytes.end());
}

}  // namespace

Status gather_texts(const ArenaView& arena, const RunTask::Input& input, std::uint32_t first, std::uint32_t count,
                    std::uint32_t total, const Shape& whole, std::vector<std::byte>* buffer) {
  buffer->clear();
  std::size_t first_bytes = 0;
  const auto add = [&](std::span<const std::byte> row) -> Status {
    if (whole.rank == 0 || input.row_shape.rank != 0) {
      if (const Status checked = check_texts(input.row_shape, row); !checked.ok()) {
        return Status::Internal("a row of a batch: " + std::string(checked.message()));
      }
    } else {  // a single text is an element of the batch
      if (row.size() > kMaxTextBytes) {
        return Status::InvalidArgument("a text of " + std::to_string(row.size()) +
                                       " bytes cannot be an element of a batch; at most " +
                                       std::to_string(kMaxTextBytes) + " can");
      }
      const auto length = static_cast<std::uint32_t>(row.size());
      append(std::as_bytes(std::span(&length, 1)), buffer);
    }
    append(row, buffer);
    return Status::Ok();
  };
  std::uint64_t skip = first;
  std::uint32_t done = 0;
  for (const RowRun& piece : input.pieces) {
    if (skip >= piece.rows) {
      skip -= piece.rows;
      continue;
    }
    std::uint64_t bytes = 0;
    if (!checked_mul(piece.row_bytes, piece.rows, &bytes)) {
      return Status::Internal("a piece of a batch that is too large to be addressed");
    }
    SERVOIR_ASSIGN_OR_RETURN(const std::byte* const data, arena.resolve(piece.offset, bytes));
    for (std::uint64_t row = skip; row < piece.rows && done < count; ++row, ++done) {
      SERVOIR_RETURN_IF_ERROR(add({data + row * piece.row_bytes, static_cast<std::size_t>(piece.row_bytes)}));
      if (done == 0) first_bytes = buffer->size();
    }
    skip = 0;
  }
  if (done != count) return Status::Internal("an input with fewer rows than its batch");
  buffer->reserve(buffer->size() + first_bytes * (total - count));
  for (std::uint32_t i = count; i < total; ++i) append(std::span(buffer->data(), first_bytes), buffer);
  return Status::Ok();
}

Result<std::vector<std::span<const std::byte>>> rows_of_texts(std::span<const std::byte> value, const Shape& shape,
                                                              const Shape& row, std::uint32_t count) {
  if (const Status checked = check_texts(shape, value); !checked.ok()) {
    return Status::Internal("an output of texts: " + std::string(checked.message()));
  }
  std::vector<std::span<const std::byte>> rows;
  if (row == shape) {
    rows.push_back(value);
    return rows;
  }
  SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t elements, row.element_count());
  TextReader reader(value);
  std::string_view element;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::span<const std::byte> before = reader.rest();
    for (std::uint64_t k = 0; k < elements; ++k) {
      if (!reader.next(&element)) return Status::Internal("an output of texts has fewer rows than its batch");
    }
    const std::span<const std::byte> bytes = before.first(before.size() - reader.rest().size());
    rows.push_back(row.rank == 0 ? bytes.subspan(kTextHeadBytes) : bytes);
  }
  return rows;
}

}  // namespace servoir
