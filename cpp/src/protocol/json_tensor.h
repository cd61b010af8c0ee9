// JSON values as tensors: numbers and bools, bare or in nested arrays, straight into their place.
//
// JSON has one type of number. What a number becomes is said by the input that it is for, where that has a dtype.
//
// All protocols with JSON share this. Each protocol says where the place is, and what else a value may be. Errors are
// InvalidArgument and say what is wrong with the value; the caller adds which input it is. Belongs to one thread, as
// the document does.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/status.h"
#include "protocol/json_document.h"
#include "tensor/dtype.h"
#include "tensor/port.h"
#include "tensor/shape.h"

namespace servoir {

// What the first elements of a value announce. The other elements must agree.
struct JsonForm {
  Shape shape;
  std::uint64_t count = 1;
  simdjson::dom::element first;  // the first that is no array; where there is no element, an empty array
  // What numbers like the first have by themselves: int32, float32 (also without any element) or bool. kUnknown: it is
  // no number.
  DataType dtype = DataType::kUnknown;
  bool nonfinite = false;  // of JsonDocument
};
// The value is one of the document's. More elements than the text has room for are an error. Where there is no element,
// the shape ends with the first 0.
[[nodiscard]] Result<JsonForm> json_form(simdjson::dom::element value, const JsonDocument& document);
// The shape of a value that is given for this port. JSON does not say what follows a 0, so a value without elements has
// the port's further dimensions; those that may be anything are 0.
[[nodiscard]] Shape shape_at(const JsonForm& form, const Port& port);

// Visits the elements of `value`, which has this shape, in C order. The first error of `visit` is returned, and
// InvalidArgument where the arrays do not have the shape.
[[nodiscard]] Status for_each_json(simdjson::dom::element value, const Shape& shape,
                                   const std::function<Status(simdjson::dom::element)>& visit);

// Writes the elements of `value`, which has this form, to the place of form.count elements of `dtype`, which is that of
// an input and known: any number or bool that it can hold is taken. Integers are taken for floats and numbers without a
// fraction for integers where nothing of their value is lost, 0 and 1 for bools; what has a fraction is rounded to the
// nearest float. An error names the element's place.
[[nodiscard]] Status fill_as(simdjson::dom::element value, const JsonForm& form, DataType dtype, std::byte* to);
// The same where the dtype is not known. The place has form.count elements of form.dtype. The result is what they are:
// form.dtype, or float32 where there are floats among integers.
[[nodiscard]] Result<DataType> fill_untyped(simdjson::dom::element value, const JsonForm& form, std::byte* to);

}  // namespace servoir
