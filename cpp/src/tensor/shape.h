// Shape: the dimensions of a tensor, a plain value of fixed size, so that it can lie in a shared ring.
//
// At most kMaxRank dimensions. In the description of a model's input or output a dimension may be kDynamic; the shape
// of a tensor has none.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/status.h"
#include "tensor/dtype.h"

namespace servoir {

inline constexpr std::uint32_t kMaxRank = 8;
inline constexpr std::int64_t kDynamic = -1;

struct Shape {
  std::uint32_t rank = 0;
  std::uint32_t reserved = 0;
  std::array<std::int64_t, kMaxRank> dims{};  // those past rank are zero

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> d);

  // InvalidArgument if there are too many dimensions or a negative one.
  static Result<Shape> from(std::span<const std::int64_t> dims);

  [[nodiscard]] std::span<const std::int64_t> view() const { return {dims.data(), rank}; }
  [[nodiscard]] bool dynamic() const;
  // Product of the dimensions, 1 for rank 0; InvalidArgument on a dynamic or negative dimension, and where the product
  // of those that are not zero needs more than 63 bits: numpy refuses such shapes as well, even with a zero among them.
  [[nodiscard]] Result<std::uint64_t> element_count() const;
  // element_count() * element_bytes(type), checked.
  [[nodiscard]] Result<std::uint64_t> byte_size(DataType type) const;
  // Of a tensor without elements: how many empty arrays it is written as, that is the product of the dimensions before
  // the first 0; [3, 2, 0] has 6, [0, 5] has 1. 0 where no dimension is 0. Counts up to 2^63 and not beyond.
  [[nodiscard]] std::uint64_t empty_arrays() const;
  // This shape with `rows` as a further, first dimension. The rank must be below kMaxRank.
  [[nodiscard]] Shape with_rows(std::int64_t rows) const;
  // This shape without its first dimension. The rank must not be 0.
  [[nodiscard]] Shape row() const;
  // "[1, 3, 224]"; a dynamic dimension is "?".
  [[nodiscard]] std::string text() const;
  bool operator==(const Shape&) const = default;

 private:
  [[nodiscard]] bool has_zero() const;
  [[nodiscard]] bool product_without_zeros(std::uint64_t* product) const;
};

}  // namespace servoir
