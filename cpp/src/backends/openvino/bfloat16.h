// bfloat16, the upper half of a float32: tensors of it are given and taken as float32. Pure functions.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "servoir/backend.h"

namespace servoir::openvino {

// Rounds to the nearest, ties to even. NaN stays NaN, what is too large becomes infinity.
inline void round_to_bfloat16(const float* from, std::size_t count, std::uint16_t* to) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    const std::uint32_t rounded = nan ? bits | 0x400000U : bits + 0x7FFFU + (bits >> 16U & 1U);
    to[i] = static_cast<std::uint16_t>(rounded >> 16U);
  }
}

// Makes float32 of a tensor, in `memory`, which grows as needed.
inline void widen_bfloat16(servoir_buffer* tensor, std::vector<float>* memory) {
  const std::size_t count = tensor->bytes / sizeof(std::uint16_t);
  memory->resize(std::max<std::size_t>(count, 1));  // never a null pointer
  const auto* from = static_cast<const std::uint16_t*>(tensor->data);
  for (std::size_t i = 0; i < count; ++i) {
    (*memory)[i] = std::bit_cast<float>(static_cast<std::uint32_t>(from[i]) << 16U);
  }
  tensor->data = memory->data();
  tensor->bytes = count * sizeof(float);
}

}  // namespace servoir::openvino
