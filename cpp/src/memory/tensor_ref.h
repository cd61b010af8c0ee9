// TensorRef: a tensor in the arena, with a share in the block that it lies in.
#pragma once

#include <cstdint>

#include "memory/arena.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir {

struct TensorRef {
  BlockRef block;            // null: no tensor
  std::uint64_t offset = 0;  // from the start of the arena
  std::uint64_t bytes = 0;
  DataType dtype = DataType::kUnknown;
  Shape shape;

  [[nodiscard]] const std::byte* data() const { return block->data() + (offset - block->offset()); }
  [[nodiscard]] std::byte* data() { return block->data() + (offset - block->offset()); }
};

}  // namespace servoir
