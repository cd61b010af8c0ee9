#include "tensor/text_array.h"

#include <string>

namespace servoir {

bool may_be_texts(const Shape& shape, std::uint64_t bytes) {
  if (shape.rank == 0) return true;
  const auto count = shape.element_count();
  if (!count.ok()) return false;
  return *count == 0 ? bytes == 0 : *count <= bytes / kTextHeadBytes;
}

Status check_texts(const Shape& shape, std::span<const std::byte> bytes) {
  if (shape.rank == 0) return {};
  SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t count, shape.element_count());
  TextReader reader(bytes);
  std::string_view element;
  // Each turn reads bytes, so the shape alone cannot make this long.
  for (std::uint64_t i = 0; i < count; ++i) {
    if (reader.next(&element)) continue;
    return Status::InvalidArgument("the array of shape " + shape.text() + " has " + std::to_string(count) +
                                   " elements, but element " + std::to_string(i) +
                                   " is not whole: " + std::to_string(reader.rest().size()) +
                                   " bytes are left for its length (4 bytes) and what that announces");
  }
  if (reader.at_end()) return {};
  return Status::InvalidArgument("the array of shape " + shape.text() + " has " + std::to_string(count) +
                                 " elements, and " + std::to_string(reader.rest().size()) + " bytes come after them");
}

}  // namespace servoir
