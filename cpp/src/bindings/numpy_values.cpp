#include "numpy_values.h"

#include <pybind11/numpy.h>

#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "made_once.h"
#include "tensor/text_array.h"

namespace servoir::bindings {
namespace {

using Api = py::detail::npy_api;

constexpr int kOrderC = 0;      // NPY_CORDER
constexpr int kHalf = 23;       // NPY_HALF, which pybind11 does not name
constexpr int kVString = 2056;  // NPY_VSTRING, numpy's StringDType

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
  PyObject* object = nullptr;               // the descriptor of objects, as are those

  static Numpy& get() {
    static std::atomic<Numpy*> numpy{nullptr};
    return made_once(&numpy, [] { return std::make_unique<Numpy>(); });
  }

  Numpy() : api(Api::get()) {
    for (std::size_t i = 1; i < descriptors.size(); ++i) descriptors[i] = api.PyArray_DescrFromType_(kNumpyTypes[i]);
    object = api.PyArray_DescrFromType_(Api::NPY_OBJECT_);
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
                                 "float16, float32 and float64 can, arrays of str or of bytes, bool, int, float, "
                                 "str, bytes, and what numpy makes such arrays of");
}

bool is_text_type(int type_number) {
  return type_number == Api::NPY_OBJECT_ || type_number == Api::NPY_STRING_ || type_number == Api::NPY_UNICODE_ ||
         type_number == kVString;
}

PyObject* made_text(DataType dtype, std::string_view text) {
  const auto size = static_cast<Py_ssize_t>(text.size());
  return dtype == DataType::kString ? PyUnicode_DecodeUTF8(text.data(), size, "strict")
                                    : PyBytes_FromStringAndSize(text.data(), size);
}

// The bytes of a str or bytes object, and which of them it is: kUnknown for other objects, and with the Python error
// set for a str that is no text.
DataType text_in(PyObject* object, std::string_view* text) {
  if (object != nullptr && PyBytes_Check(object)) {
    *text = {PyBytes_AS_STRING(object), static_cast<std::size_t>(PyBytes_GET_SIZE(object))};
    return DataType::kBytes;
  }
  if (object == nullptr || !PyUnicode_Check(object)) return DataType::kUnknown;
  Py_ssize_t size = 0;
  const char* utf8 = PyUnicode_AsUTF8AndSize(object, &size);
  if (utf8 == nullptr) return DataType::kUnknown;
  *text = {utf8, static_cast<std::size_t>(size)};
  return DataType::kString;
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

bool is_array_of_texts(const py::handle& array) {
  const auto* proxy = py::detail::array_proxy(array.ptr());
  return is_text_type(py::detail::array_descriptor_proxy(proxy->descr)->type_num);
}

py::object array_on(DataType dtype, const Shape& shape, std::byte* data) {
  Numpy& numpy = Numpy::get();
  // NumPy has no bfloat16: the bits are seen as uint16.
  const DataType seen = dtype == DataType::kBfloat16 ? DataType::kUint16 : dtype;
  PyObject* descriptor = numpy.descriptors[static_cast<std::size_t>(seen)];
  Py_INCREF(descriptor);  // taken over by the call
  static_assert(sizeof(Py_intptr_t) == sizeof(std::int64_t));
  return py::reinterpret_steal<py::object>(numpy.api.PyArray_NewFromDescr_(
      numpy.api.PyArray_Type_, descriptor, static_cast<int>(shape.rank),
      reinterpret_cast<const Py_intptr_t*>(shape.dims.data()), nullptr, data,
      Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_ALIGNED_ | Api::NPY_ARRAY_WRITEABLE_, nullptr));
}

py::object array_of_texts(DataType dtype, const Shape& shape, const std::byte* data, std::uint64_t bytes) {
  if (!may_be_texts(shape, bytes)) {
    PyErr_SetString(PyExc_ValueError, "an array of texts has too few bytes for its shape");
    return {};
  }
  Numpy& numpy = Numpy::get();
  Py_INCREF(numpy.object);  // taken over by the call
  auto array = py::reinterpret_steal<py::object>(numpy.api.PyArray_NewFromDescr_(
      numpy.api.PyArray_Type_, numpy.object, static_cast<int>(shape.rank),
      reinterpret_cast<const Py_intptr_t*>(shape.dims.data()), nullptr, nullptr, 0, nullptr));
  if (!array) return array;
  auto** to = reinterpret_cast<PyObject**>(py::detail::array_proxy(array.ptr())->data);
  std::uint64_t count = 1;  // it has fitted memory
  for (const std::int64_t dim : shape.view()) count *= static_cast<std::uint64_t>(dim);
  TextReader reader({data, static_cast<std::size_t>(bytes)});
  std::string_view text(reinterpret_cast<const char*>(data), bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (shape.rank != 0 && !reader.next(&text)) {
      PyErr_SetString(PyExc_ValueError, "an array of texts is not whole");
      return {};
    }
    PyObject* const made = made_text(dtype, text);
    if (made == nullptr) return {};
    Py_XDECREF(std::exchange(to[i], made));
  }
  return array;
}

bool is_view(DataType dtype, const Shape& shape) {
  return dtype != DataType::kString && (dtype != DataType::kBytes || shape.rank == 0);
}

py::object copy_array(const py::object& array) {
  return py::reinterpret_steal<py::object>(Numpy::get().api.PyArray_NewCopy_(array.ptr(), kOrderC));
}

void copy_into(const py::object& array, std::byte* to, std::uint64_t bytes) {
  const auto copied = py::reinterpret_borrow<py::array>(array);
  const bool as_made =
      static_cast<std::uint64_t>(copied.nbytes()) == bytes && (copied.flags() & py::array::c_style) != 0;
  if (as_made && bytes != 0) std::memcpy(to, copied.data(), bytes);
}

py::object value_on(DataType dtype, const Shape& shape, std::byte* data, std::uint64_t bytes) {
  if (is_text(dtype) && shape.rank != 0) return array_of_texts(dtype, shape, data, bytes);
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

Status Value::read_text(PyObject* object) {
  std::string_view text;
  dtype_ = text_in(object, &text);
  if (PyErr_Occurred() != nullptr) return Status::InvalidArgument("a str that cannot be sent: " + take_error_text());
  if (dtype_ == DataType::kUnknown) {
    return not_servable("a numpy array of objects with an element of type " +
                        (object == nullptr ? "NoneType" : type_name(object)));
  }
  bytes_ = text.size();
  data_ = text.data();
  return Status::Ok();
}

Status Value::read_texts(PyObject* array) {
  Numpy& numpy = Numpy::get();
  Py_INCREF(numpy.object);  // taken over by the call
  auto objects = py::reinterpret_steal<py::object>(numpy.api.PyArray_FromAny_(
      array, numpy.object, 0, 0, Api::NPY_ARRAY_C_CONTIGUOUS_ | Api::NPY_ARRAY_FORCECAST_, nullptr));
  if (!objects) return Status::InvalidArgument(take_error_text());
  owner_ = std::move(objects);  // the elements live as long
  auto* const* items = reinterpret_cast<PyObject**>(py::detail::array_proxy(owner_.ptr())->data);
  if (shape_.rank == 0) return read_text(items[0]);
  std::uint64_t count = 1;
  for (const std::int64_t dim : shape_.view()) count *= static_cast<std::uint64_t>(dim);
  texts_.clear();
  DataType first = DataType::kString;  // also of an array without elements
  for (std::uint64_t i = 0; i < count; ++i) {
    if (Status status = read_text(items[i]); !status.ok()) return status;
    if (i == 0) first = dtype_;
    if (dtype_ != first) {
      return Status::InvalidArgument("an array with elements of str and of bytes cannot be sent: all must be alike");
    }
    if (bytes_ > kMaxTextBytes) {
      return Status::InvalidArgument("an array with an element of " + std::to_string(bytes_) +
                                     " bytes cannot be sent: at most " + std::to_string(kMaxTextBytes) + " can");
    }
    append_text({static_cast<const char*>(data_), static_cast<std::size_t>(bytes_)}, &texts_);
  }
  dtype_ = first;
  data_ = texts_.data();
  bytes_ = texts_.size();
  return Status::Ok();
}

Status Value::read(PyObject* object) {
  Numpy& numpy = Numpy::get();
  owner_ = py::reinterpret_borrow<py::object>(object);
  shape_ = Shape();
  data_ = nullptr;
  is_number_ = false;
  if (numpy.api.PyArray_Check_(object)) return read_array(object);
  if (PyUnicode_Check(object) || PyBytes_Check(object)) return read_text(object);
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
  if (PyFloat_Check(object)) {  // numpy's float64 is a float as well
    set_number(DataType::kFloat64, PyFloat_AS_DOUBLE(object));
    return Status::Ok();
  }
  return read_foreign(object);
}

Status Value::read_foreign(PyObject* object) {
  Numpy& numpy = Numpy::get();
  if (PyObject_HasAttrString(object, "asnumpy") == 0) {
    auto array = py::reinterpret_steal<py::object>(numpy.api.PyArray_FromAny_(object, nullptr, 0, 0, 0, nullptr));
    if (!array) {
      return Status::InvalidArgument("numpy makes no array of a value of type " + type_name(object) + ": " +
                                     take_error_text());
    }
    const auto* descriptor = py::detail::array_descriptor_proxy(py::detail::array_proxy(array.ptr())->descr);
    if (descriptor->type_num == Api::NPY_OBJECT_) {
      return not_servable("a value of type " + type_name(object) + ", of which numpy makes an array of objects,");
    }
    owner_ = std::move(array);
    return read_array(owner_.ptr());
  }
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
  const bool texts = is_text_type(descriptor->type_num);
  if (dtype_ == DataType::kUnknown && !texts) return not_servable("a numpy array of dtype " + text_of(proxy->descr));
  if (proxy->nd > static_cast<int>(kMaxRank)) {
    return Status::InvalidArgument("an array with " + std::to_string(proxy->nd) +
                                   " dimensions cannot be sent: at most " + std::to_string(kMaxRank) + " can");
  }
  shape_.rank = static_cast<std::uint32_t>(proxy->nd);
  std::uint64_t elements = 1;  // numpy has checked the product
  for (std::uint32_t i = 0; i < shape_.rank; ++i) {
    shape_.dims[i] = proxy->dimensions[i];
    elements *= static_cast<std::uint64_t>(proxy->dimensions[i]);
  }
  if (texts) return read_texts(array);
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
  // Elements or bytes are in another order: numpy copies them straight into place.
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
  // The two types that say nothing but "an error".
  if (!text.empty() && (type == PyExc_RuntimeError || type == PyExc_Exception)) return text;
  return text.empty() ? name : name + ": " + text;
}

}  // namespace servoir::bindings
