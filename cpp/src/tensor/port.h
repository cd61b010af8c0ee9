// Port: an input or output of a model, and whether a tensor fits it.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir {

struct Port {
  std::string name;
  DataType dtype = DataType::kUnknown;  // kUnknown: numbers of any type are taken
  bool rank_known = true;               // false: any shape is taken
  Shape shape;                          // dimensions may be kDynamic

  [[nodiscard]] bool is_static() const { return rank_known && !shape.dynamic(); }
};

// Whether a tensor of this dtype, shape and size can be input `index`, the port of which has the shape of one instance.
// The dtype must be the port's, if the port has a dtype. If the port is static, the size in bytes must match, and the
// shape does not matter. Otherwise the number of dimensions, and each dimension that is not dynamic, must match; a
// single value also fits a port that may have one element. The size of texts says nothing, so their shape must always
// match. The InvalidArgument says what was wanted and what was given.
[[nodiscard]] Status fits(std::uint32_t index, const Port& port, DataType dtype, const Shape& shape,
                          std::uint64_t bytes);
// The shape that a tensor which fits the port has for the model.
[[nodiscard]] Shape shape_for(const Port& port, DataType dtype, const Shape& shape);

}  // namespace servoir
