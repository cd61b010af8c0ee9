// The body of a REST request: {"instances": [{input: value, …}, …]}, or one instance without the array.
//
//   value  := number | true | false | string            a scalar: a number or bool of the input's type, see below; str
//           | array of … numbers or bools, nested        the same, of that shape; also without any
//           | [string] | [base64 of str or bytes]        that one value
//           | array of … strings, or base64 of str, or of bytes, nested      an array of them of that shape
//           | base64
//   base64 := {"b64": text, "type": name (default "bytes"), "shape": [unsigned, …] (default [])}
//
// Numbers are taken for the dtype of the input, where it has one; otherwise they are int32, float32 or bool.
//
// simdjson checks the whole text before anything is placed; its tape then gives the size of each array, so that numbers
// are converted straight into their place.

#include "protocol/seed/rest_reader.h"

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "protocol/base64.h"
#include "protocol/json_tensor.h"
#include "protocol/request_builder.h"
#include "protocol/seed/data_type.h"
#include "tensor/text_array.h"

namespace servoir::seed {
namespace {

namespace dom = simdjson::dom;
using Type = dom::element_type;

constexpr std::string_view kBytesType = "\"type\": \"bytes\"";

// Reads the values of one instance's inputs.
class ValueReader {
 public:
  ValueReader(RequestBuilder* builder, const JsonDocument& document) : builder_(builder), document_(document) {}

  Status read(int input, dom::element value) {
    input_ = input;
    switch (value.type()) {
      case Type::STRING: {
        const std::string_view text = value.get_string().value_unsafe();
        return place({text, false, DataType::kString, text.size(), Shape()});
      }
      case Type::OBJECT: {
        const Result<Text> read = base64_of(value.get_object().value_unsafe());
        return read.ok() ? place(*read) : bad(read.status().message());
      }
      case Type::NULL_VALUE:
        return bad("null is no value; expected a number, a bool, a string, an array of these, or a base64 object");
      default:
        return read_numbers(value);
    }
  }

 private:
  Status bad(std::string_view text) const { return builder_->bad_input(input_, text); }

  Status read_numbers(dom::element value) {
    const Result<JsonForm> form = json_form(value, document_);
    if (!form.ok()) return bad(form.status().message());
    if (form->dtype == DataType::kUnknown) return read_texts(value, *form);
    const Port& port = builder_->port(input_);
    const bool known = port.dtype != DataType::kUnknown && !is_text(port.dtype);
    // An array without elements does not show that they would be texts.
    const bool no_texts = is_text(port.dtype) && form->count == 0;
    const DataType type = known || no_texts ? port.dtype : form->dtype;
    SERVOIR_ASSIGN_OR_RETURN(std::byte* const at,
                             builder_->tensor(input_, type, shape_at(*form, port), form->count * element_bytes(type)));
    if (known) {
      const Status filled = fill_as(value, *form, type, at);
      return filled.ok() ? Status() : bad(filled.message());
    }
    const Result<DataType> filled = fill_untyped(value, *form, at);
    if (!filled.ok()) return bad(filled.status().message());
    if (!no_texts) builder_->set_dtype(input_, *filled);
    return {};
  }

  // Texts in nested arrays: strings, or base64 objects of str or bytes.
  Status read_texts(dom::element value, const JsonForm& form) {
    if (form.first.type() == Type::NULL_VALUE) {
      return bad("an array has null; expected numbers or bools, or texts");
    }
    if (form.shape.rank == 1 && form.count == 1) {  // the same as the value without the array
      const Result<Text> text = text_in_array(form.first);
      return text.ok() ? place(*text) : bad(text.status().message());
    }
    DataType type = DataType::kUnknown;
    std::uint64_t bytes = 0;
    const Status measured = for_each_json(value, form.shape, [&](dom::element element) -> Status {
      SERVOIR_ASSIGN_OR_RETURN(const Text text, text_in_array(element));
      if (type == DataType::kUnknown) type = text.type;
      if (type != text.type) {
        return Status::InvalidArgument("the array's first element is " + std::string(name_of(type)) + ", another is " +
                                       std::string(name_of(text.type)) + "; all must be alike");
      }
      bytes += kTextHeadBytes + text.bytes;
      return {};
    });
    if (!measured.ok()) return bad(measured.message());
    SERVOIR_ASSIGN_OR_RETURN(std::byte* const at, builder_->tensor(input_, type, form.shape, bytes));
    std::byte* to = at;
    const Status placed = for_each_json(value, form.shape, [&](dom::element element) -> Status {
      SERVOIR_ASSIGN_OR_RETURN(const Text text, text_in_array(element));
      if (!text.is_base64) {
        to = put_text(text.text, to);
        return {};
      }
      const auto length = static_cast<std::uint32_t>(text.bytes);
      std::memcpy(to, &length, sizeof(length));
      SERVOIR_RETURN_IF_ERROR(base64_decode(text.text, to + kTextHeadBytes));
      to += kTextHeadBytes + length;
      return {};
    });
    if (!placed.ok()) return bad(placed.message());
    return builder_->check_texts(input_, type, form.shape, {at, static_cast<std::size_t>(bytes)}, kBytesType);
  }

  // A value of str or bytes; in base64 it may also be of numbers.
  struct Text {
    std::string_view text;
    bool is_base64 = false;
    DataType type = DataType::kString;
    std::uint64_t bytes = 0;
    Shape shape;
  };

  static Result<Text> text_in_array(dom::element element) {
    if (element.type() == Type::STRING) {
      const std::string_view text = element.get_string().value_unsafe();
      return Text{text, false, DataType::kString, text.size(), Shape()};
    }
    dom::object object;
    if (element.get(object) != simdjson::SUCCESS) {
      return Status::InvalidArgument(std::string("an array of texts has ") + json_kind(element.type()) +
                                     "; all must be strings or base64 objects");
    }
    SERVOIR_ASSIGN_OR_RETURN(const Text text, base64_of(object));
    if (!is_text(text.type)) {
      return Status::InvalidArgument("an array has a base64 object of type " + std::string(name_of(text.type)) +
                                     "; only str and bytes can be in an array, give the shape in \"shape\" instead");
    }
    return text;
  }

  // {"b64": …, "type": …, "shape": …}
  static Result<Text> base64_of(dom::object object) {
    Text read{{}, true, DataType::kBytes, 0, Shape()};
    bool has_text = false;
    const auto string_at = [](const dom::key_value_pair& field, std::string_view* text) -> Status {
      if (field.value.get(*text) == simdjson::SUCCESS) return {};
      return Status::InvalidArgument("\"" + std::string(field.key) + "\" is " + json_kind(field.value.type()) +
                                     "; expected a string");
    };
    for (const dom::key_value_pair field : object) {
      if (field.key == "b64") {
        SERVOIR_RETURN_IF_ERROR(string_at(field, &read.text));
        has_text = true;
      } else if (field.key == "type") {
        std::string_view name;
        SERVOIR_RETURN_IF_ERROR(string_at(field, &name));
        const auto known = type_of_name(name);
        if (!known) {
          return Status::InvalidArgument(
              "\"type\" is \"" + std::string(name) +
              "\"; expected int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, float64, "
              "fp16, fp32, fp64, bool, str or bytes");
        }
        read.type = *known;
      } else if (field.key == "shape") {
        SERVOIR_ASSIGN_OR_RETURN(read.shape, shape_of(field.value));
      } else {
        return Status::InvalidArgument("a base64 object has the key \"" + std::string(field.key) +
                                       "\"; it can have b64, type and shape");
      }
    }
    if (!has_text) {
      return Status::InvalidArgument(
          "an object without \"b64\"; an object as value is {\"b64\": …, \"type\": …, \"shape\": …}");
    }
    if (is_text(read.type)) {
      const auto count = read.shape.element_count();
      if (!count.ok() || *count != 1) {
        return Status::InvalidArgument("\"shape\" is " + read.shape.text() + " for one " +
                                       std::string(name_of(read.type)) +
                                       " value; expected [], [1] or none (several values are an array of objects)");
      }
      read.shape = Shape();
    }
    SERVOIR_ASSIGN_OR_RETURN(read.bytes, base64_decoded_bytes(read.text));
    return read;
  }

  // Places a string, or what a base64 object has.
  Status place(const Text& value) {
    SERVOIR_ASSIGN_OR_RETURN(std::byte* const at, builder_->tensor(input_, value.type, value.shape, value.bytes));
    if (!value.is_base64) {
      if (value.bytes != 0) std::memcpy(at, value.text.data(), value.bytes);
      return {};
    }
    if (const Status decoded = base64_decode(value.text, at); !decoded.ok()) return bad(decoded.message());
    if (!is_text(value.type)) return {};
    return builder_->check_texts(input_, value.type, value.shape, {at, static_cast<std::size_t>(value.bytes)},
                                 kBytesType);
  }

  static Result<Shape> shape_of(dom::element value) {
    dom::array dims;
    if (value.get(dims) != simdjson::SUCCESS) {
      return Status::InvalidArgument(std::string("\"shape\" is ") + json_kind(value.type()) +
                                     "; expected an array of unsigned integers");
    }
    Shape shape;
    for (const dom::element element : dims) {
      std::int64_t dim = 0;
      if (element.type() != Type::INT64 || element.get(dim) != simdjson::SUCCESS || dim < 0) {
        return Status::InvalidArgument("\"shape\" has " + simdjson::to_string(element) +
                                       "; expected unsigned integers");
      }
      if (shape.rank == kMaxRank) {
        return Status::InvalidArgument("\"shape\" has more than the " + std::to_string(kMaxRank) +
                                       " dimensions that are supported");
      }
      shape.dims[shape.rank++] = dim;
    }
    return shape;
  }

  RequestBuilder* builder_;
  const JsonDocument& document_;
  int input_ = 0;
};

Status read_json_instance(dom::element instance, const JsonDocument& document, RequestBuilder* builder) {
  dom::object inputs;
  if (instance.get(inputs) != simdjson::SUCCESS) {
    return Status::InvalidArgument("instance " + std::to_string(builder->instance()) + " is " +
                                   json_kind(instance.type()) + "; expected an object {INPUT: VALUE, …}");
  }
  ValueReader values(builder, document);
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

Result<std::shared_ptr<Request>> read_document(const JsonDocument& document, const RestTarget& target,
                                               Scheduler* scheduler, SlabPool* slabs, MemoryBudget* connection) {
  dom::object top;
  if (document.root().get(top) != simdjson::SUCCESS) {
    return Status::InvalidArgument(std::string("the body is ") + json_kind(document.root().type()) +
                                   "; expected an object {\"instances\": …}");
  }
  std::optional<dom::element> instances;
  for (const dom::key_value_pair field : top) {
    if (field.key == "instances") instances = field.value;
  }
  if (!instances) return Status::InvalidArgument("the body has no \"instances\"; expected {\"instances\": …}");
  const bool one = instances->type() == Type::OBJECT;
  if (!one && instances->type() != Type::ARRAY) {
    return Status::InvalidArgument(std::string("\"instances\" is ") + json_kind(instances->type()) +
                                   "; expected an array of instances, or one instance (an object)");
  }
  RequestBuilder builder(scheduler, slabs, connection);
  SERVOIR_RETURN_IF_ERROR(builder.method(target.servable, target.version, target.method));
  const std::uint64_t body_bytes = document.text_bytes();
  // The densest text is "1,": two characters become at most 8 bytes, so rows take at most four times the body.
  const std::uint64_t row_bytes = std::uint64_t{4} * body_bytes;
  if (one) {
    builder.expect_instances(1, body_bytes);
    SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
    builder.expect_instances(0, 0);
    SERVOIR_RETURN_IF_ERROR(read_json_instance(*instances, document, &builder));
    return builder.finish();
  }
  const dom::array array = instances->get_array().value_unsafe();
  std::uint64_t left = json_size(array);
  builder.expect_instances(left, body_bytes);
  for (const dom::element instance : array) {
    SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
    builder.expect_instances(--left, row_bytes);
    SERVOIR_RETURN_IF_ERROR(read_json_instance(instance, document, &builder));
  }
  return builder.finish();
}

constexpr std::string_view kExpected = "{\"instances\": …}";

}  // namespace

Result<std::shared_ptr<Request>> read_rest_request(const RestTarget& target, std::string_view body,
                                                   Scheduler* scheduler, SlabPool* slabs, MemoryBudget* connection,
                                                   bool take_nonfinite) {
  JsonDocument document;
  SERVOIR_RETURN_IF_ERROR(document.parse(body, kExpected, take_nonfinite));
  return read_document(document, target, scheduler, slabs, connection);
}

Result<std::shared_ptr<Request>> read_rest_request(std::string_view path, std::string_view body, Scheduler* scheduler,
                                                   SlabPool* slabs, MemoryBudget* connection, bool take_nonfinite) {
  JsonDocument document;
  SERVOIR_RETURN_IF_ERROR(document.parse(body, kExpected, take_nonfinite));
  SERVOIR_ASSIGN_OR_RETURN(const RestTarget target, parse_rest_target(path));
  return read_document(document, target, scheduler, slabs, connection);
}

}  // namespace servoir::seed
