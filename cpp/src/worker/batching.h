// What of a model has a batch dimension, and how large a batch is.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "tensor/port.h"

namespace servoir {

struct Batching {
  bool with_batch_dim = true;                        // false: no input and no output has one
  std::vector<std::uint32_t> unbatched_inputs = {};  // with it: those that have none all the same
  std::vector<std::uint32_t> unbatched_outputs = {};
};

// The number that all inputs and outputs with a batch dimension have as their first; 0 where it is dynamic, 1 without
// batch dimension. InvalidArgument names those that contradict each other, and indices that do not exist.
[[nodiscard]] Result<std::uint32_t> batch_size(std::span<const Port> inputs, std::span<const Port> outputs,
                                               const Batching& batching);

}  // namespace servoir
