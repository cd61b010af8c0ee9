#include "tensor/shape.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "base/checked.h"

namespace servoir {
namespace {

constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> d) {
  assert(d.size() <= kMaxRank);
  const std::size_t count = std::min<std::size_t>(d.size(), kMaxRank);
  rank = static_cast<std::uint32_t>(count);
  std::copy_n(d.begin(), count, dims.begin());
}

Result<Shape> Shape::from(std::span<const std::int64_t> dims) {
  if (dims.size() > kMaxRank) {
    return Status::InvalidArgument("a shape has " + std::to_string(dims.size()) + " dimensions; at most " +
                                   std::to_string(kMaxRank) + " are supported");
  }
  Shape shape;
  shape.rank = static_cast<std::uint32_t>(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0) {
      return Status::InvalidArgument("dimension " + std::to_string(i) + " of a shape is " + std::to_string(dims[i]) +
                                     "; it must be 0 or more");
    }
    shape.dims[i] = dims[i];
  }
  return shape;
}

bool Shape::dynamic() const { return std::ranges::find(view(), kDynamic) != view().end(); }

bool Shape::has_zero() const { return std::ranges::find(view(), 0) != view().end(); }

bool Shape::product_without_zeros(std::uint64_t* product) const {
  *product = 1;
  for (const std::int64_t dim : view()) {
    if (dim == 0) continue;
    if (!checked_mul(*product, static_cast<std::uint64_t>(dim), product) || *product > kLargest) return false;
  }
  return true;
}

Result<std::uint64_t> Shape::element_count() const {
  if (rank > kMaxRank) {
    return Status::InvalidArgument("a shape has " + std::to_string(rank) + " dimensions; at most " +
                                   std::to_string(kMaxRank) + " are supported");
  }
  for (const std::int64_t dim : view()) {
    if (dim < 0) {
      return Status::InvalidArgument("the shape " + text() + " of a tensor has the dimension " + std::to_string(dim) +
                                     "; each must be 0 or more");
    }
  }
  std::uint64_t count = 0;
  if (!product_without_zeros(&count)) {
    return Status::InvalidArgument("the shape " + text() + " has more elements than 63 bits can count" +
                                   (has_zero() ? ", its zeros left out" : ""));
  }
  return has_zero() ? 0 : count;
}

Result<std::uint64_t> Shape::byte_size(DataType type) const {
  SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t count, element_count());
  std::uint64_t bytes = 0;
  (void)product_without_zeros(&bytes);
  if (!checked_mul(bytes, element_bytes(type), &bytes) || bytes > kLargest) {
    return Status::InvalidArgument("a " + std::string(name_of(type)) + " tensor of shape " + text() +
                                   " has more bytes than 63 bits can count" +
                                   (has_zero() ? ", its zeros left out" : ""));
  }
  return count == 0 ? 0 : bytes;
}

std::uint64_t Shape::empty_arrays() const {
  std::uint64_t arrays = 1;
  for (const std::int64_t dim : view()) {
    if (dim == 0) return arrays;
    if (!checked_mul(arrays, static_cast<std::uint64_t>(dim), &arrays)) arrays = kLargest + 1;
    arrays = std::min(arrays, kLargest + 1);
  }
  return 0;
}

Shape Shape::with_rows(std::int64_t rows) const {
  assert(rank < kMaxRank);
  Shape result;
  result.rank = std::min(rank + 1, kMaxRank);
  result.dims[0] = rows;
  std::copy_n(dims.begin(), result.rank - 1, result.dims.begin() + 1);
  return result;
}

Shape Shape::row() const {
  assert(rank > 0);
  Shape result;
  if (rank == 0) return result;
  result.rank = std::min(rank, kMaxRank) - 1;
  std::copy_n(dims.begin() + 1, result.rank, result.dims.begin());
  return result;
}

std::string Shape::text() const {
  std::string out = "[";
  for (std::uint32_t i = 0; i < std::min(rank, kMaxRank); ++i) {
    if (i > 0) out += ", ";
    out += dims[i] == kDynamic ? "?" : std::to_string(dims[i]);
  }
  out += ']';
  return out;
}

}  // namespace servoir
