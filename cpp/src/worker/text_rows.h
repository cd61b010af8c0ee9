// Rows of texts on their way into a batch, and out of one. tensor/text_array.h says how texts lie in memory.
//
// Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "channel/message.h"
#include "memory/arena_view.h"
#include "tensor/shape.h"

namespace servoir {

// The value that the model takes, in `buffer`: `count` rows of the input from row `first` on, followed by copies of the
// first of them up to `total` rows. `whole` is its shape. Internal where a row is no value of its shape.
[[nodiscard]] Status gather_texts(const ArenaView& arena, const RunTask::Input& input, std::uint32_t first,
                                  std::uint32_t count, std::uint32_t total, const Shape& whole,
                                  std::vector<std::byte>* buffer);

// Where the first `count` rows of shape `row` lie in a value, of which they are parts. Where `count` is 1 and the value
// has the shape `row`, that is the value. Internal where the value has fewer, or an element is not whole.
[[nodiscard]] Result<std::vector<std::span<const std::byte>>> rows_of_texts(std::span<const std::byte> value,
                                                                            const Shape& shape, const Shape& row,
                                                                            std::uint32_t count);

}  // namespace servoir
