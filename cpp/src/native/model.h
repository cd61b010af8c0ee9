// Model: what a worker's model lane runs, whichever backend opened it.
//
// A model is used by one thread at a time. Tensors are packed, C order, batch dimension included; texts are as
// tensor/text_array.h says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/port.h"
#include "tensor/shape.h"

namespace servoir {

struct ModelInput {
  std::byte* data = nullptr;  // aligned to the element size at least; only read
  std::uint64_t bytes = 0;
  DataType dtype = DataType::kUnknown;
  Shape shape;
};

// Before: the room to write into, or null, and the shape that the caller expects if `expected`. After: the result's
// dtype, shape and size; `data` is unchanged if the result is in the room, else the model's own memory, valid until the
// next execute().
struct ModelOutput {
  std::byte* data = nullptr;
  std::uint64_t bytes = 0;
  DataType dtype = DataType::kUnknown;
  Shape shape;
  bool expected = false;
};

class Model {
 public:
  virtual ~Model() = default;
  // What the model's file says, with the batch dimension.
  [[nodiscard]] virtual const std::vector<Port>& inputs() const = 0;
  [[nodiscard]] virtual const std::vector<Port>& outputs() const = 0;
  // Runs a batch; the spans are as long as inputs() and outputs().
  [[nodiscard]] virtual Status execute(std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) = 0;
};

}  // namespace servoir
