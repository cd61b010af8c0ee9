#include "numpy_values.h"

#include <pybind11/numpy.h>

#include <bit>
#include <cstring>

namespace servoir::bindings {
namespace {

using Api = py::detail::npy_api;

constexpr int kHalf = 23;  // NPY_HALF, which pybind11 does not name

// numpy's numbers for our types, by DataType.
constexpr std::array<int, 13> kNumpyTypes = {
    -1,
    Api::NPY_BOOL_,
    Api::NPY_BYTE_,
    Api::NPY_UBYTE_,
    Api::NPY_SHORT_,
    Api::NPY_USHORT_,
    Api::NPY_INT_,
    Api::NPY_UINT_,
    Api::NPY_LONG_,
    Api::NPY_ULONG_,
    kHalf,
    Api::NPY_FLOAT_,
    Api::NPY_DOUBLE_,
};
static_assert(sizeof(long) == 8 && sizeof(int) == 4);

constexpr char kForeignOrder = std::endian::native == std::endian::little ? '>' : '<';

struct Numpy {
  Api& api;
  std::array<PyObject*, 13> descriptors{};  // own references, for the life of the process
  PyTypeObject* generic = nullptr;          // numpy.generic, the base of its scalars

  static Numpy& get() {
    static Numpy numpy;
    return numpy;
  }

 private:
  Numpy() : api(Api::get()) {
    for (std::size_t i = 1; i < descriptors.size(); ++i) descriptors[i] = api.PyArray_DescrFromType_(kNumpyTypes[i]);
    py::object type = py::module_::import("numpy").attr("generic");
    generic = reinterpret_cast<PyTypeObject*>(type.release().ptr());
  }
};

std::string type_name(PyObject* object) {
  const char* name = Py_TYPE(object)->tp_name;
  return name;
}

std::string text_of(PyObject* object) {
  const auto text = py::reinterpret_steal<py::object>(PyObject_Str(object));
  if (text) {
    Py_ssize_t size = 0;
    if (const char* utf8 = PyUnicode_AsUTF8AndSize(text.ptr(), &size)) return {utf8, static_cast<std::size_t>(size)};
    // Lone surrogates, as in the name of a file that is not UTF-8.
    PyErr_Clear();
    const auto bytes =
        py::reinterpret_steal<py::bytes>(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "backslashreplace"));
    if (bytes) return static_cast<std::string>(bytes);
  }
  PyErr_Clear();
  return {};
}

Status not_servable(const std::string& what) {
  return Status::InvalidArgument(what +
                                 " cannot be sent: numpy arrays and numbers of bool, int8 to int64, uint8 to uint64, "
                                 "float16, float32 and float64 can, and bool, int, float, str, bytes");
}

}  // namespace

DataType data_type_of_numpy(int type_number) {
  if (type_number == Api::NPY_LONGLONG_) return DataType::kInt64;
  if (type_number == Api::NPY_ULONGLONG_) return DataType::kUint64;
  for (std::size_t i = 1; i < kNumpyTypes.size(); ++i) {
    if (kNumpyTypes[i] == type_number) return static_cast<DataType>(i);
  }
  return DataType::kUnknown;
}

py::object array_on(DataType dtype, const Shape& shape, std::byte* data) {
  Numpy& numpy = Numpy::get();
  PyObject* descriptor = numpy.descriptors[static_cast<std::size_t>(dtype)];
  Py_INCREF(descriptor);  // taken over by the call
  static_assert(sizeof(Py_intptr_t) == sizeof(std::int64_t));
  return py::reinterpret_steal<py::object>(numpy.api.PyArray_NewFromDescr_(
      numpy.api.PyArray_Type_, descriptor, static_cast<int>(shape.rank),
      reinterpret_cast<const Py_intptr_t*>(shape.dims.data()), nullptr, data,
      Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_ | Api::NPY_ARRAY_WRITEABLE_, nullptr));
}

py::object value_on(DataType dtype, const Shape& shape, std::byte* data, std::uint64_t bytes) {
  if (dtype == DataType::kString) {
    return py::reinterpret_steal<py::object>(
        PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(data), static_cast<Py_ssize_t>(bytes), "strict"));
  }
  if (dtype == DataType::kBytes) return array_on(DataType::kUint8, Shape{static_cast<std::int64_t>(bytes)}, data);
  return array_on(dtype, shape, data);
}

template <typename T>
void Value::set_number(DataType dtype, T number) {
  dtype_ = dtype;
  bytes_ = sizeof(number);
  std::memcpy(number_.data(), &number, sizeof(number));
  is_number_ = true;
}

void Value::set_text(DataType dtype, const char* text, std::uint64_t size) {
  dtype_ = dtype;
  bytes_ = size;
  data_ = text;
}

Status Value::read(PyObject* object) {
  Numpy& numpy = Numpy::get();
  owner_ = py::reinterpret_borrow<py::object>(object);
  shape_ = Shape();
  data_ = nullptr;
  is_number_ = false;
  if (numpy.api.PyArray_Check_(object)) return read_array(object);
  if (PyUnicode_Check(object)) {
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(object, &size);
    if (text == nullptr) return Status::InvalidArgument("a str that cannot be sent: " + take_error_text());
    set_text(DataType::kString, text, static_cast<std::uint64_t>(size));
    return Status::Ok();
  }
  if (PyBytes_Check(object)) {
    set_text(DataType::kBytes, PyBytes_AS_STRING(object), static_cast<std::uint64_t>(PyBytes_GET_SIZE(object)));
    return Status::Ok();
  }
  if (PyBool_Check(object)) {
    set_number(DataType::kBool, static_cast<std::uint8_t>(object == Py_True ? 1 : 0));
    return Status::Ok();
  }
  if (PyLong_Check(object)) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow != 0)
      return Status::InvalidArgument("the int " + text_of(object).substr(0, 40) + " does not fit int64");
    if (number == -1 && PyErr_Occurred() != nullptr) return Status::InvalidArgument(take_error_text());
    set_number(DataType::kInt64, static_cast<std::int64_t>(number));
    return Status::Ok();
  }
  if (PyFloat_Check(object)) {  // numpy's float64 is one as well
    set_number(DataType::kFloat64, PyFloat_AS_DOUBLE(object));
    return Status::Ok();
  }
  return read_foreign(object);
}

Status Value::read_foreign(PyObject* object) {
  Numpy& numpy = Numpy::get();
  if (PyObject_TypeCheck(object, numpy.generic)) {
    auto array = py::reinterpret_steal<py::object>(numpy.api.PyArray_FromAny_(object, nullptr, 0, 0, 0, nullptr));
    if (!array) return Status::InvalidArgument(take_error_text());
    owner_ = std::move(array);
    return read_array(owner_.ptr());
  }
  if (PyObject_HasAttrString(object, "asnumpy") == 0) return not_servable("a value of type " + type_name(object));
  auto array = py::reinterpret_steal<py::object>(PyObject_CallMethod(object, "asnumpy", nullptr));
  if (!array) return Status::InvalidArgument(type_name(object) + ".asnumpy() failed: " + take_error_text());
  if (!numpy.api.PyArray_Check_(array.ptr())) {
    return Status::InvalidArgument(type_name(object) + ".asnumpy() returned " + type_name(array.ptr()) +
                                   ", not a numpy array");
  }
  owner_ = std::move(array);
  return read_array(owner_.ptr());
}

Status Value::read_array(PyObject* array) {
  const auto* proxy = py::detail::array_proxy(array);
  const auto* descriptor = py::detail::array_descriptor_proxy(proxy->descr);
  dtype_ = data_type_of_numpy(descriptor->type_num);
  if (dtype_ == DataType::kUnknown) return not_servable("a numpy array of dtype " + text_of(proxy->descr));
  if (proxy->nd > static_cast<int>(kMaxRank)) {
    return Status::InvalidArgument("an array with " + std::to_string(proxy->nd) +
                                   " dimensions cannot be sent: at most " + std::to_string(kMaxRank) + " can");
  }
  shape_.rank = static_cast<std::uint32_t>(proxy->nd);
  std::uint64_t elements = 1;  // numpy has checked the product
  for (std::uint32_t i = 0; i < shape_.rank; ++i) {
    shape_.dims[i] = proxy->dimensions[i];
    elements *= static_cast<std::uint64_t>(proxy->dimensions[i]);
    if (shape_.dims[i] == 0 && i + 1 < shape_.rank) {
      return Status::InvalidArgument("an array of shape " +
                                     py::str(py::handle(array).attr("shape")).cast<std::string>() +
                                     " cannot be sent: only the last dimension may be 0");
    }
  }
  bytes_ = elements * element_bytes(dtype_);
  const bool packed = (proxy->flags & Api::NPY_ARRAY_C_CONTIGUOUS_) != 0 && descriptor->byteorder != kForeignOrder;
  data_ = packed ? proxy->data : nullptr;
  return Status::Ok();
}

Status Value::write(std::byte* to) const {
  if (bytes_ == 0) return Status::Ok();
  const void* from = is_number_ ? number_.data() : data_;
  if (from != nullptr) {
    std::memcpy(to, from, bytes_);
    return Status::Ok();
  }
  // Another order of elements or bytes: numpy copies it straight into place.
  const py::object place = array_on(dtype_, shape_, to);
  if (!place || Numpy::get().api.PyArray_CopyInto_(place.ptr(), owner_.ptr()) != 0) {
    return Status::Internal("a result cannot be copied: " + take_error_text());
  }
  return Status::Ok();
}

std::string take_error_text() {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  const auto owned_type = py::reinterpret_steal<py::object>(type);
  const auto owned_value = py::reinterpret_steal<py::object>(value);
  const auto owned_trace = py::reinterpret_steal<py::object>(trace);
  if (!owned_type) return "no reason given";
  const std::string name = reinterpret_cast<PyTypeObject*>(type)->tp_name;
  const std::string text = owned_value ? text_of(owned_value.ptr()) : "";
  // The two that say nothing but "an error".
  if (!text.empty() && (type == PyExc_RuntimeError || type == PyExc_Exception)) return text;
  return text.empty() ? name : name + ": " + text;
}

}  // namespace servoir::bindings
