#include "protocol/json_tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "protocol/json_nonfinite.h"
#include "tensor/half.h"

namespace servoir {
namespace {

namespace dom = simdjson::dom;
using Type = dom::element_type;

Status ragged(const Shape& shape, std::uint32_t depth) {
  return Status::InvalidArgument("the array is ragged: its first elements give the shape " + shape.text() +
                                 ", but in dimension " + std::to_string(depth) +
                                 " another has a different length or is no array");
}

// The floats of 16 bits are converted by way of float32.
struct Float16 {
  using Bits = std::uint16_t;
  static Bits to_bits(float value) { return to_float16(value); }
  static float from_bits(Bits bits) { return from_float16(bits); }
};
struct Bfloat16 {
  using Bits = std::uint16_t;
  static Bits to_bits(float value) { return to_bfloat16(value); }
  static float from_bits(Bits bits) { return from_bfloat16(bits); }
};

DataType own_dtype(dom::element element, bool nonfinite) {
  switch (element.type()) {
    case Type::INT64:
    case Type::UINT64:
      return DataType::kInt32;
    case Type::DOUBLE:
      return DataType::kFloat32;
    case Type::BOOL:
      return DataType::kBool;
    default:
      return nonfinite && nonfinite_of(element) ? DataType::kFloat32 : DataType::kUnknown;
  }
}

// How a JSON element becomes a T where T is what is wanted.
template <typename T>
struct Fitting {
  static constexpr bool kIsHalf = std::is_same_v<T, Float16> || std::is_same_v<T, Bfloat16>;
  using Stored = std::conditional_t<kIsHalf, std::uint16_t, T>;

  static bool convert(dom::element element, Stored* out) {
    // What most elements are comes first, and the others are apart, so that the loop over elements stays small.
    if constexpr (kIsHalf || std::is_floating_point_v<T>) {
      if (element.type() == Type::DOUBLE) [[likely]]
        return from_double(element.get_double().value_unsafe(), out);
    } else if constexpr (!std::is_same_v<T, bool>) {
      if (element.type() == Type::INT64) [[likely]]
        return from_integer(element.get_int64().value_unsafe(), out);
    }
    Stored other{};
    if (!convert_other(element, &other)) return false;
    *out = other;
    return true;
  }
  [[gnu::noinline]] static bool convert_other(dom::element element, Stored* out) {
    switch (element.type()) {
      case Type::INT64:
        return from_integer(element.get_int64().value_unsafe(), out);
      case Type::UINT64:
        return from_integer(element.get_uint64().value_unsafe(), out);
      case Type::DOUBLE:
        return from_double(element.get_double().value_unsafe(), out);
      case Type::BOOL:
        if constexpr (std::is_same_v<T, bool>) {
          *out = element.get_bool().value_unsafe();
          return true;
        }
        return false;
      default:
        return false;
    }
  }
  // From NaN or an infinity.
  static bool from_nonfinite([[maybe_unused]] double value, [[maybe_unused]] Stored* out) {
    if constexpr (kIsHalf) {
      *out = T::to_bits(static_cast<float>(value));
    } else if constexpr (std::is_floating_point_v<T>) {
      *out = static_cast<T>(value);
    } else {
      return false;
    }
    return true;
  }

 private:
  template <typename Integer>
  static bool from_integer(Integer value, Stored* out) {
    if constexpr (std::is_same_v<T, bool>) {
      *out = value == 1;
      return value == 0 || value == 1;
    } else if constexpr (std::is_integral_v<T>) {
      *out = static_cast<T>(value);
      return std::in_range<T>(value);
    } else {
      // Through long double, which holds each integer of 64 bits.
      const auto exact = static_cast<long double>(value);
      if constexpr (kIsHalf) {
        *out = T::to_bits(static_cast<float>(value));
        return static_cast<long double>(T::from_bits(*out)) == exact;
      } else {
        *out = static_cast<T>(value);
        return static_cast<long double>(*out) == exact;
      }
    }
  }
  static bool from_double(double value, Stored* out) {
    if constexpr (std::is_same_v<T, bool>) {
      *out = value == 1;
      return value == 0 || value == 1;
    } else if constexpr (std::is_integral_v<T>) {
      // Both bounds are powers of two (or 0), so they are exact as floats.
      // NOLINTNEXTLINE(bugprone-integer-division): the largest value is odd, and half of the next one is meant
      constexpr auto kBeyond = static_cast<double>(std::numeric_limits<T>::max() / 2 + 1) * 2;
      if (!(value >= static_cast<double>(std::numeric_limits<T>::min()) && value < kBeyond)) return false;
      *out = static_cast<T>(value);
      return static_cast<double>(*out) == value;
    } else if constexpr (kIsHalf) {
      *out = T::to_bits(static_cast<float>(value));
      return std::isfinite(T::from_bits(*out));
    } else {
      *out = static_cast<T>(value);
      return std::isfinite(*out);
    }
  }
};

// How a JSON element becomes an int32, a float32 or a bool where it is not known what is wanted.
struct UntypedInteger : Fitting<std::int32_t> {
  static bool convert(dom::element element, std::int32_t* out) {
    return element.type() == Type::INT64 && Fitting<std::int32_t>::convert(element, out);
  }
};
struct UntypedFloat : Fitting<float> {
  static bool convert(dom::element element, float* out) {
    if (element.type() == Type::DOUBLE) [[likely]] {
      *out = static_cast<float>(element.get_double().value_unsafe());  // infinite beyond float32
      return true;
    }
    return Fitting<float>::convert(element, out);
  }
};
struct UntypedBool : Fitting<bool> {
  static bool convert(dom::element element, bool* out) {
    return element.type() == Type::BOOL && Fitting<bool>::convert(element, out);
  }
};

template <typename Conversion>
class Filler {
 public:
  using T = typename Conversion::Stored;
  Filler(const JsonForm& form, DataType dtype, std::byte* to)
      : shape_(form.shape), nonfinite_(form.nonfinite), dtype_(dtype), begin_(to), to_(to) {}

  Status fill(dom::element value) {
    if (shape_.rank == 0) return put(value);
    return fill(value.get_array().value_unsafe(), 0);
  }

 private:
  Status fill(dom::array array, std::uint32_t depth) {
    if (json_size(array) != static_cast<std::size_t>(shape_.dims[depth])) return ragged(shape_, depth);
    if (depth + 1 < shape_.rank) {
      for (const dom::element row : array) {
        dom::array inner;
        if (row.get(inner) != simdjson::SUCCESS) return ragged(shape_, depth + 1);
        SERVOIR_RETURN_IF_ERROR(fill(inner, depth + 1));
      }
      return {};
    }
    std::byte* to = to_;
    for (const dom::element element : array) {
      T value;
      if (Conversion::convert(element, &value)) {
        std::memcpy(to, &value, sizeof(T));
      } else if (!put_nonfinite(element, to)) {
        to_ = to;
        return mismatch(element);
      }
      to += sizeof(T);
    }
    to_ = to;
    return {};
  }
  Status put(dom::element element) {
    T value;
    if (Conversion::convert(element, &value)) {
      std::memcpy(to_, &value, sizeof(T));
    } else if (!put_nonfinite(element, to_)) {
      return mismatch(element);
    }
    return {};
  }
  // These are apart from the loop, which is faster without their code.
  [[gnu::cold]] [[gnu::noinline]] bool put_nonfinite(dom::element element, std::byte* to) const {
    const auto number = nonfinite_ ? nonfinite_of(element) : std::nullopt;
    T value{};
    if (!number || !Conversion::from_nonfinite(*number, &value)) return false;
    std::memcpy(to, &value, sizeof(T));
    return true;
  }
  [[nodiscard]] [[gnu::cold]] [[gnu::noinline]] Status mismatch(dom::element element) const {
    const auto nonfinite = nonfinite_ ? nonfinite_of(element) : std::nullopt;
    const Type type = element.type();
    std::string text = json_kind(type);
    std::string wrong = " is no ";
    if (nonfinite || type == Type::INT64 || type == Type::UINT64 || type == Type::DOUBLE) {
      text = "the number " + (nonfinite ? std::string(name_of_nonfinite(*nonfinite)) : simdjson::to_string(element));
      wrong = " does not fit ";
    }
    return Status::InvalidArgument(text + place() + wrong + std::string(name_of(dtype_)));
  }
  // " at [1, 0]": of the next element.
  [[nodiscard]] std::string place() const {
    if (shape_.rank == 0) return {};
    Shape index;
    index.rank = shape_.rank;
    auto left = static_cast<std::int64_t>(static_cast<std::size_t>(to_ - begin_) / sizeof(T));
    for (std::uint32_t i = shape_.rank; i-- > 0; left /= shape_.dims[i]) index.dims[i] = left % shape_.dims[i];
    return " at " + index.text();
  }

  const Shape& shape_;
  const bool nonfinite_;
  const DataType dtype_;
  const std::byte* const begin_;
  std::byte* to_;
};

template <typename Conversion>
Status fill_with(dom::element value, const JsonForm& form, DataType dtype, std::byte* to) {
  return Filler<Conversion>(form, dtype, to).fill(value);
}

}  // namespace

Result<JsonForm> json_form(dom::element value, const JsonDocument& document) {
  JsonForm form;
  form.first = value;
  form.nonfinite = document.has_nonfinite();
  while (form.count > 0 && form.first.type() == Type::ARRAY) {
    const dom::array inner = form.first.get_array().value_unsafe();
    const std::size_t size = json_size(inner);
    if (form.shape.rank == kMaxRank) {
      return Status::InvalidArgument("the array is nested deeper than the " + std::to_string(kMaxRank) +
                                     " dimensions that are supported");
    }
    form.shape.dims[form.shape.rank++] = static_cast<std::int64_t>(size);
    // More elements than the text has room for can only be announced by rows of different lengths.
    if (__builtin_mul_overflow(form.count, size, &form.count) || form.count > document.text_bytes()) {
      return ragged(form.shape, 0);
    }
    if (size > 0) form.first = *inner.begin();
  }
  form.dtype = form.count == 0 ? DataType::kFloat32 : own_dtype(form.first, form.nonfinite);
  return form;
}

Shape shape_at(const JsonForm& form, const Port& port) {
  Shape shape = form.shape;
  if (form.count > 0 || !port.rank_known) return shape;
  for (; shape.rank < port.shape.rank; ++shape.rank) {
    shape.dims[shape.rank] = std::max<std::int64_t>(port.shape.dims[shape.rank], 0);
  }
  return shape;
}

namespace {

Status visit_array(dom::array array, const Shape& shape, std::uint32_t depth,
                   const std::function<Status(dom::element)>& visit) {
  if (json_size(array) != static_cast<std::size_t>(shape.dims[depth])) return ragged(shape, depth);
  for (const dom::element element : array) {
    if (depth + 1 == shape.rank) {
      SERVOIR_RETURN_IF_ERROR(visit(element));
      continue;
    }
    dom::array inner;
    if (element.get(inner) != simdjson::SUCCESS) return ragged(shape, depth + 1);
    SERVOIR_RETURN_IF_ERROR(visit_array(inner, shape, depth + 1, visit));
  }
  return {};
}

}  // namespace

Status for_each_json(dom::element value, const Shape& shape, const std::function<Status(dom::element)>& visit) {
  if (shape.rank == 0) return visit(value);
  dom::array array;
  if (value.get(array) != simdjson::SUCCESS) return ragged(shape, 0);
  return visit_array(array, shape, 0, visit);
}

Status fill_as(dom::element value, const JsonForm& form, DataType dtype, std::byte* to) {
  switch (dtype) {
    case DataType::kBool:
      return fill_with<Fitting<bool>>(value, form, dtype, to);
    case DataType::kInt8:
      return fill_with<Fitting<std::int8_t>>(value, form, dtype, to);
    case DataType::kUint8:
      return fill_with<Fitting<std::uint8_t>>(value, form, dtype, to);
    case DataType::kInt16:
      return fill_with<Fitting<std::int16_t>>(value, form, dtype, to);
    case DataType::kUint16:
      return fill_with<Fitting<std::uint16_t>>(value, form, dtype, to);
    case DataType::kInt32:
      return fill_with<Fitting<std::int32_t>>(value, form, dtype, to);
    case DataType::kUint32:
      return fill_with<Fitting<std::uint32_t>>(value, form, dtype, to);
    case DataType::kInt64:
      return fill_with<Fitting<std::int64_t>>(value, form, dtype, to);
    case DataType::kUint64:
      return fill_with<Fitting<std::uint64_t>>(value, form, dtype, to);
    case DataType::kFloat16:
      return fill_with<Fitting<Float16>>(value, form, dtype, to);
    case DataType::kBfloat16:
      return fill_with<Fitting<Bfloat16>>(value, form, dtype, to);
    case DataType::kFloat32:
      return fill_with<Fitting<float>>(value, form, dtype, to);
    case DataType::kFloat64:
      return fill_with<Fitting<double>>(value, form, dtype, to);
    default:
      return Status::InvalidArgument("numbers are no " + std::string(name_of(dtype)));
  }
}

Result<DataType> fill_untyped(dom::element value, const JsonForm& form, std::byte* to) {
  Status filled;
  switch (form.dtype) {
    case DataType::kBool:
      filled = fill_with<UntypedBool>(value, form, form.dtype, to);
      break;
    case DataType::kFloat32:
      filled = fill_with<UntypedFloat>(value, form, form.dtype, to);
      break;
    default:
      filled = fill_with<UntypedInteger>(value, form, form.dtype, to);
  }
  if (filled.ok()) return form.dtype;
  if (form.dtype != DataType::kInt32) return filled;
  // Something in it is no int32. If any number is a float, all are.
  bool has_float = false;
  bool has_larger = false;
  SERVOIR_RETURN_IF_ERROR(for_each_json(value, form.shape, [&](dom::element element) -> Status {
    std::int64_t integer = 0;
    has_float = has_float || own_dtype(element, form.nonfinite) == DataType::kFloat32;
    has_larger = has_larger || element.type() == Type::UINT64 ||
                 (element.get(integer) == simdjson::SUCCESS && !std::in_range<std::int32_t>(integer));
    return {};
  }));
  if (has_float) {
    SERVOIR_RETURN_IF_ERROR(fill_with<UntypedFloat>(value, form, DataType::kFloat32, to));
    return DataType::kFloat32;
  }
  if (!has_larger) return filled;
  return Status::InvalidArgument(std::string(filled.message()) +
                                 ", the type of integers for an input without a known type; send a base64 object with "
                                 "\"type\": \"int64\", or declare the type with input_dtypes of register_method");
}

}  // namespace servoir
