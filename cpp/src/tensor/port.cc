#include "tensor/port.h"

#include <algorithm>

namespace servoir {
namespace {

// Whether a tensor of this shape can be the port's: it has the port's dimensions wherever these are fixed.
bool conforms(const Shape& shape, const Shape& port) {
  if (shape.rank != port.rank) return false;
  for (std::uint32_t i = 0; i < shape.rank; ++i) {
    if (port.dims[i] != kDynamic && port.dims[i] != shape.dims[i]) return false;
  }
  return true;
}

// The shape of a tensor of one element that has as many dimensions as the port.
Shape ones(const Shape& port) {
  Shape shape;
  shape.rank = port.rank;
  std::fill_n(shape.dims.begin(), port.rank, 1);
  return shape;
}

}  // namespace

Status fits(std::uint32_t index, const Port& port, DataType dtype, const Shape& shape, std::uint64_t bytes) {
  const bool any = port.dtype == DataType::kUnknown;
  const auto refuse = [&](const std::string& wanted) {
    const std::string type = any ? "numbers" : std::string(name_of(port.dtype));
    return Status::InvalidArgument("input " + std::to_string(index) + " '" + port.name + "' of the model has to be " +
                                   type + " " + wanted + "; given " + std::string(name_of(dtype)) + " " + shape.text() +
                                   " of " + std::to_string(bytes) + " bytes");
  };
  const auto shape_text = [&] { return port.rank_known ? port.shape.text() : std::string("of any shape"); };
  if (any ? is_text(dtype) : dtype != port.dtype) return refuse(shape_text());
  if (!port.rank_known) return Status::Ok();
  if (is_text(dtype)) {
    return conforms(shape_for(port, dtype, shape), port.shape) ? Status::Ok() : refuse(shape_text());
  }
  if (port.is_static()) {
    // Users of the predecessor rely on this: the size in bytes decides, and not the shape.
    SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t wanted, port.shape.byte_size(dtype));
    if (bytes != wanted) return refuse(shape_text() + " of " + std::to_string(wanted) + " bytes");
    return Status::Ok();
  }
  return conforms(shape_for(port, dtype, shape), port.shape) ? Status::Ok() : refuse(shape_text());
}

Shape shape_for(const Port& port, DataType dtype, const Shape& shape) {
  if (!port.rank_known) return shape;
  if (port.is_static() && !is_text(dtype)) return port.shape;
  return shape.rank == 0 ? ones(port.shape) : shape;
}

}  // namespace servoir
