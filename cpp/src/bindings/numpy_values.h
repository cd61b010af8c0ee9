// Tensors of the arena as Python values, and Python values as tensors.
//
// What a function gets: an array that lies on the arena itself (writable, C order), a str, or for an array of str or
// bytes an array of objects that has them copied. What it may return: arrays and numbers of numpy of the types that
// exist on the wire, arrays of str or of bytes, bool, int, float, str, bytes, objects with a method asnumpy(), and
// whatever else numpy makes such an array of. The interpreter lock is held by every caller.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir::bindings {

namespace py = pybind11;

// An array on this memory, which must outlive it. A null object with the Python error set on failure.
[[nodiscard]] py::object array_on(DataType dtype, const Shape& shape, std::byte* data);

// Whether the value that a function gets lies on the arena itself.
[[nodiscard]] bool is_view(DataType dtype, const Shape& shape);

// A copy in C order that owns its memory. A null object with the Python error set on failure.
[[nodiscard]] py::object copy_array(const py::object& array);
// The elements of an array from copy_array(), if they are still as many bytes; its owner may have done much to it.
void copy_into(const py::object& array, std::byte* to, std::uint64_t bytes);

// An array of str or bytes objects, of any rank, from a value of str or bytes. A null object with the Python error set
// on failure (text that is not UTF-8).
[[nodiscard]] py::object array_of_texts(DataType dtype, const Shape& shape, const std::byte* data, std::uint64_t bytes);

// The value that a function gets: array_on() for numbers, array_of_texts(), but for a single str this str, and for
// single bytes an array of uint8. A null object with the Python error set on failure.
[[nodiscard]] py::object value_on(DataType dtype, const Shape& shape, std::byte* data, std::uint64_t bytes);

// The numpy type number's DataType; kUnknown for those that cannot be served.
[[nodiscard]] DataType data_type_of_numpy(int type_number);

// Whether its elements are str or bytes, or objects that may be.
[[nodiscard]] bool is_array_of_texts(const py::handle& array);

// A Python value that is to become a tensor.
class Value {
 public:
  // InvalidArgument, naming the type, if it cannot become a value. Keeps a reference.
  [[nodiscard]] Status read(PyObject* object);
  void clear() { owner_ = py::object(); }

  [[nodiscard]] DataType dtype() const { return dtype_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  // bytes() bytes.
  [[nodiscard]] Status write(std::byte* to) const;

 private:
  [[nodiscard]] Status read_array(PyObject* array);
  [[nodiscard]] Status read_text(PyObject* object);
  [[nodiscard]] Status read_texts(PyObject* array);
  [[nodiscard]] Status read_foreign(PyObject* object);
  template <typename T>
  void set_number(DataType dtype, T number);

  py::object owner_;
  DataType dtype_ = DataType::kUnknown;
  Shape shape_;
  std::uint64_t bytes_ = 0;
  const void* data_ = nullptr;  // null: owner_ is an array whose elements are not contiguous
  std::string texts_;           // what an array of texts becomes
  std::array<std::byte, 8> number_{};
  bool is_number_ = false;  // the value is in number_
};

// "ValueError: text" of the error that is set; clears it.
[[nodiscard]] std::string take_error_text();

}  // namespace servoir::bindings
