// The body of a REST request: {"instances": [{input: value, …}, …]}, or one instance without the array.
//
//   value  := number | true | false | string            a scalar: int32, float32, bool; str
//           | array of … numbers or bools, nested        int32, float32 or bool of that shape
//           | [string] | [base64 of str or bytes]        that one value
//           | base64
//   base64 := {"b64": text, "type": name (default "bytes"), "shape": [unsigned, …] (default [])}
//
// simdjson checks the whole text before anything is placed; its tape then gives the size of each array, so that numbers
// are converted straight into their place.

#include <simdjson.h>

#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "protocol/base64.h"
#include "protocol/rest.h"
#include "protocol/utf8.h"

namespace servoir {
namespace {

namespace dom = simdjson::dom;
using Type = dom::element_type;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

// A parser keeps about ten times its largest body in (mostly untouched) memory; one of a larger body is not kept.
constexpr std::size_t kKeptBodyBytes = 4U << 20U;
// array::size() says this for larger arrays.
constexpr std::size_t kSaturatedSize = 0xFFFFFF;

std::size_t size_of(const dom::array& array) {
  const std::size_t size = array.size();
  if (size < kSaturatedSize) return size;
  std::size_t counted = 0;
  for ([[maybe_unused]] const dom::element element : array) ++counted;
  return counted;
}

const char* kind_of(Type type) {
  switch (type) {
    case Type::ARRAY:
      return "an array";
    case Type::OBJECT:
      return "an object";
    case Type::INT64:
    case Type::UINT64:
      return "an integer";
    case Type::DOUBLE:
      return "a number with a fraction or exponent";
    case Type::STRING:
      return "a string";
    case Type::BOOL:
      return "a bool";
    default:
      return "null";
  }
}

// dtype of a JSON number or bool; kUnknown for everything else.
DataType dtype_of(Type type) {
  switch (type) {
    case Type::INT64:
    case Type::UINT64:
      return DataType::kInt32;
    case Type::DOUBLE:
      return DataType::kFloat32;
    case Type::BOOL:
      return DataType::kBool;
    default:
      return DataType::kUnknown;
  }
}

// The names that "type" may have; name_of's, but without its aliases and with fp16, fp32, fp64.
std::optional<DataType> base64_type(std::string_view name) {
  const auto type = data_type_of(name);
  if (!type || name == "string") return std::nullopt;
  return type;
}

// Reads the values of one instance's inputs.
class ValueReader {
 public:
  ValueReader(RequestBuilder* builder, std::size_t body_bytes) : builder_(builder), body_bytes_(body_bytes) {}

  Status read(int input, dom::element value) {
    input_ = input;
    switch (value.type()) {
      case Type::STRING:
        return place_text(DataType::kString, value.get_string().value_unsafe());
      case Type::OBJECT:
        return read_base64(value.get_object().value_unsafe(), false);
      case Type::ARRAY:
        return read_array(value.get_array().value_unsafe());
      case Type::NULL_VALUE:
        return bad("null is no value; expected a number, a bool, a string, an array of these, or a base64 object");
      default: {
        const DataType type = dtype_of(value.type());
        SERVOIR_ASSIGN_OR_RETURN(std::byte* const at, builder_->tensor(input_, type, Shape(), element_bytes(type)));
        return put(type, value, at);
      }
    }
  }

 private:
  Status bad(std::string_view text) const { return builder_->bad_input(input_, text); }

  Status place_text(DataType type, std::string_view text) {
    SERVOIR_ASSIGN_OR_RETURN(std::byte* const at, builder_->tensor(input_, type, Shape(), text.size()));
    if (!text.empty()) std::memcpy(at, text.data(), text.size());
    return {};
  }

  Status read_array(dom::array array) {
    // The first elements tell the shape and the type; all others must agree.
    Shape shape;
    dom::array inner = array;
    dom::element first;
    std::uint64_t count = 1;
    while (true) {
      const std::size_t size = size_of(inner);
      if (size == 0) return bad("an empty array has no type; a base64 object can have the shape [0]");
      if (shape.rank == kMaxRank) {
        return bad("the array is nested deeper than the " + std::to_string(kMaxRank) +
                   " dimensions that are supported");
      }
      shape.dims[shape.rank++] = static_cast<std::int64_t>(size);
      // More elements than the body has room for can only be announced by rows of different lengths.
      if (__builtin_mul_overflow(count, size, &count) || count > body_bytes_) return ragged(shape, 0);
      first = *inner.begin();
      if (first.type() != Type::ARRAY) break;
      inner = first.get_array().value_unsafe();
    }
    const DataType type = dtype_of(first.type());
    if (type == DataType::kUnknown) return read_array_of_one(shape, first);
    SERVOIR_ASSIGN_OR_RETURN(std::byte * at, builder_->tensor(input_, type, shape, count * element_bytes(type)));
    switch (type) {
      case DataType::kInt32:
        return fill<std::int32_t>(array, shape, 0, &at);
      case DataType::kFloat32:
        return fill<float>(array, shape, 0, &at);
      default:
        return fill<bool>(array, shape, 0, &at);
    }
  }

  Status read_array_of_one(const Shape& shape, dom::element value) {
    if (value.type() == Type::NULL_VALUE) return bad("an array has null; expected numbers or bools");
    if (shape.rank != 1 || shape.dims[0] != 1) {
      return bad(std::string("an array of shape ") + shape.text() + " starts with " + kind_of(value.type()) +
                 "; an array can hold one string or one base64 object of str or bytes, no more, and not nested");
    }
    if (value.type() == Type::OBJECT) return read_base64(value.get_object().value_unsafe(), true);
    return place_text(DataType::kString, value.get_string().value_unsafe());
  }

  template <typename T>
  Status fill(dom::array array, const Shape& shape, std::uint32_t depth, std::byte** at) {
    const auto size = static_cast<std::size_t>(shape.dims[depth]);
    if (size_of(array) != size) return ragged(shape, depth);
    if (depth + 1 < shape.rank) {
      for (const dom::element row : array) {
        dom::array inner;
        if (row.get(inner) != simdjson::SUCCESS) return ragged(shape, depth + 1);
        SERVOIR_RETURN_IF_ERROR(fill<T>(inner, shape, depth + 1, at));
      }
      return {};
    }
    std::byte* to = *at;
    for (const dom::element element : array) {
      T value;
      if (!convert(element, &value)) return mismatch<T>(element);
      std::memcpy(to, &value, sizeof(T));
      to += sizeof(T);
    }
    *at = to;
    return {};
  }

  static bool convert(dom::element element, float* out) {
    double value = 0;
    if (element.type() != Type::DOUBLE || element.get(value) != simdjson::SUCCESS) return false;
    *out = static_cast<float>(value);
    return true;
  }
  static bool convert(dom::element element, std::int32_t* out) {
    std::int64_t value = 0;
    if (element.type() != Type::INT64 || element.get(value) != simdjson::SUCCESS) return false;
    *out = static_cast<std::int32_t>(value);
    return *out == value;
  }
  static bool convert(dom::element element, bool* out) { return element.get(*out) == simdjson::SUCCESS; }

  Status put(DataType type, dom::element value, std::byte* at) {
    const auto put_as = [&]<typename T>(T converted) -> Status {
      if (!convert(value, &converted)) return mismatch<T>(value);
      std::memcpy(at, &converted, sizeof(T));
      return {};
    };
    if (type == DataType::kInt32) return put_as(std::int32_t{});
    if (type == DataType::kFloat32) return put_as(float{});
    return put_as(bool{});
  }

  Status ragged(const Shape& shape, std::uint32_t depth) const {
    return bad("the array is ragged: its first elements give the shape " + shape.text() + ", but in dimension " +
               std::to_string(depth) + " another has a different length or is no array");
  }
  template <typename T>
  Status mismatch(dom::element element) const {
    const Type type = element.type();
    if (std::is_same_v<T, std::int32_t> && (type == Type::INT64 || type == Type::UINT64)) {
      return bad("the integer " + simdjson::to_string(element) +
                 " does not fit int32, the type of JSON integers; send a base64 object with \"type\": \"int64\"");
    }
    return bad(std::string("the array's first element makes it ") +
               std::string(name_of(std::is_same_v<T, float>  ? DataType::kFloat32
                                   : std::is_same_v<T, bool> ? DataType::kBool
                                                             : DataType::kInt32)) +
               ", another element is " + kind_of(type) + "; all must be alike (1 and 1.5 do not mix: write 1.0)");
  }

  // {"b64": …, "type": …, "shape": …}
  Status read_base64(dom::object object, bool in_array) {
    std::optional<std::string_view> text;
    DataType type = DataType::kBytes;
    Shape shape;
    for (const dom::key_value_pair field : object) {
      if (field.key == "b64") {
        std::string_view value;
        if (field.value.get(value) != simdjson::SUCCESS) {
          return bad(std::string("\"b64\" is ") + kind_of(field.value.type()) + "; expected a string");
        }
        text = value;
      } else if (field.key == "type") {
        std::string_view name;
        if (field.value.get(name) != simdjson::SUCCESS) {
          return bad(std::string("\"type\" is ") + kind_of(field.value.type()) + "; expected a string");
        }
        const auto known = base64_type(name);
        if (!known) {
          return bad("\"type\" is \"" + std::string(name) +
                     "\"; expected int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, "
                     "float64, fp16, fp32, fp64, bool, str or bytes");
        }
        type = *known;
      } else if (field.key == "shape") {
        SERVOIR_RETURN_IF_ERROR(read_shape(field.value, &shape));
      } else {
        return bad("a base64 object has the key \"" + std::string(field.key) + "\"; it can have b64, type and shape");
      }
    }
    if (!text) return bad("an object without \"b64\"; an object as value is {\"b64\": …, \"type\": …, \"shape\": …}");
    if (in_array && !is_text(type)) {
      return bad("an array has a base64 object of type " + std::string(name_of(type)) +
                 "; only str and bytes can be in an array, give the shape in \"shape\" instead");
    }
    if (is_text(type)) {
      const auto count = shape.element_count();
      if (!count.ok() || *count != 1) {
        return bad("\"shape\" is " + shape.text() + " for one " + std::string(name_of(type)) +
                   " value; expected [], [1] or none");
      }
    }
    const auto bytes = base64_decoded_bytes(*text);
    if (!bytes.ok()) return bad(bytes.status().message());
    SERVOIR_ASSIGN_OR_RETURN(std::byte* const at, builder_->tensor(input_, type, shape, *bytes));
    if (const Status decoded = base64_decode(*text, at); !decoded.ok()) return bad(decoded.message());
    if (type == DataType::kString && !is_utf8({reinterpret_cast<const char*>(at), *bytes})) {
      return bad("the base64 text of type str is not valid UTF-8; send other bytes with \"type\": \"bytes\"");
    }
    return {};
  }

  Status read_shape(dom::element value, Shape* shape) {
    dom::array dims;
    if (value.get(dims) != simdjson::SUCCESS) {
      return bad(std::string("\"shape\" is ") + kind_of(value.type()) + "; expected an array of unsigned integers");
    }
    *shape = Shape();
    for (const dom::element element : dims) {
      std::int64_t dim = 0;
      if (element.type() != Type::INT64 || element.get(dim) != simdjson::SUCCESS || dim < 0) {
        return bad("\"shape\" has " + simdjson::to_string(element) + "; expected unsigned integers");
      }
      if (shape->rank == kMaxRank) {
        return bad("\"shape\" has more than the " + std::to_string(kMaxRank) + " dimensions that are supported");
      }
      if (shape->rank > 0 && shape->dims[shape->rank - 1] == 0) {
        return bad("\"shape\" has a 0 before its last dimension; only the last one may be 0");
      }
      shape->dims[shape->rank++] = dim;
    }
    return {};
  }

  RequestBuilder* builder_;
  std::size_t body_bytes_;
  int input_ = 0;
};

Status read_instance(dom::element instance, std::size_t body_bytes, RequestBuilder* builder) {
  dom::object inputs;
  if (instance.get(inputs) != simdjson::SUCCESS) {
    return Status::InvalidArgument("instance " + std::to_string(builder->instance()) + " is " +
                                   kind_of(instance.type()) + "; expected an object {INPUT: VALUE, …}");
  }
  ValueReader values(builder, body_bytes);
  for (const dom::key_value_pair field : inputs) {
    if (field.key.empty()) {
      return Status::InvalidArgument("instance " + std::to_string(builder->instance()) +
                                     " has an input with an empty name");
    }
    const int input = builder->input(field.key);
    if (input >= 0) SERVOIR_RETURN_IF_ERROR(values.read(input, field.value));
  }
  return builder->end_instance();
}

Result<std::shared_ptr<Request>> read_document(dom::element document, const RestTarget& target, std::size_t body_bytes,
                                               Scheduler* scheduler, SlabPool* slabs) {
  dom::object top;
  if (document.get(top) != simdjson::SUCCESS) {
    return Status::InvalidArgument(std::string("the body is ") + kind_of(document.type()) +
                                   "; expected an object {\"instances\": …}");
  }
  std::optional<dom::element> instances;
  for (const dom::key_value_pair field : top) {
    if (field.key == "instances") instances = field.value;
  }
  if (!instances) return Status::InvalidArgument("the body has no \"instances\"; expected {\"instances\": …}");
  const bool one = instances->type() == Type::OBJECT;
  if (!one && instances->type() != Type::ARRAY) {
    return Status::InvalidArgument(std::string("\"instances\" is ") + kind_of(instances->type()) +
                                   "; expected an array of instances, or one instance (an object)");
  }
  RequestBuilder builder(scheduler, slabs);
  SERVOIR_RETURN_IF_ERROR(builder.method(target.servable, target.version, target.method));
  // Of all text, "1.," makes the most of its bytes: 4 for at least 2.
  const std::uint64_t row_bytes = std::uint64_t{2} * body_bytes;
  if (one) {
    builder.expect_instances(1, body_bytes);
    SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
    builder.expect_instances(0, 0);
    SERVOIR_RETURN_IF_ERROR(read_instance(*instances, body_bytes, &builder));
    return builder.finish();
  }
  const dom::array array = instances->get_array().value_unsafe();
  std::uint64_t left = size_of(array);
  builder.expect_instances(left, body_bytes);
  for (const dom::element instance : array) {
    SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
    builder.expect_instances(--left, row_bytes);
    SERVOIR_RETURN_IF_ERROR(read_instance(instance, body_bytes, &builder));
  }
  return builder.finish();
}

// Parses the body, and calls read(document) while the parser has it.
template <typename Read>
Result<std::shared_ptr<Request>> with_document(std::string_view body, const Read& read) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return Status::InvalidArgument("the body is empty; expected {\"instances\": …}");
  }
  static thread_local dom::parser kept;
  std::optional<dom::parser> large;
  dom::parser& parser = body.size() > kKeptBodyBytes ? large.emplace() : kept;
  dom::element document;
  const auto error = parser.parse(body.data(), body.size(), false).get(document);
  if (error == simdjson::NUMBER_ERROR) {  // simdjson does not tell which of these it is
    return Status::InvalidArgument(
        "the body is not JSON that can be read: it has a number that is malformed, an integer beyond 64 bits, or a "
        "number beyond float64");
  }
  if (error != simdjson::SUCCESS) {
    return Status::InvalidArgument(std::string("the body is not JSON: ") + simdjson::error_message(error));
  }
  return read(document);
}

}  // namespace

Result<std::shared_ptr<Request>> read_rest_request(const RestTarget& target, std::string_view body,
                                                   Scheduler* scheduler, SlabPool* slabs) {
  return with_document(
      body, [&](dom::element document) { return read_document(document, target, body.size(), scheduler, slabs); });
}

Result<std::shared_ptr<Request>> read_rest_request(std::string_view path, std::string_view body, Scheduler* scheduler,
                                                   SlabPool* slabs) {
  return with_document(body, [&](dom::element document) -> Result<std::shared_ptr<Request>> {
    SERVOIR_ASSIGN_OR_RETURN(const RestTarget target, parse_rest_target(path));
    return read_document(document, target, body.size(), scheduler, slabs);
  });
}

}  // namespace servoir
