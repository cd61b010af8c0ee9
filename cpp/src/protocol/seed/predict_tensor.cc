#include "protocol/seed/predict_tensor.h"

#include <cstring>
#include <optional>
#include <utility>

#include "protocol/seed/data_type.h"
#include "tensor/text_array.h"

namespace servoir::seed {

using namespace predict_fields;  // NOLINT(google-build-using-namespace)

Status SpecFields::merge(std::span<const std::byte> message) {
  seen = true;
  if (message.size() > kMaxSpecBytes) {
    return Status::InvalidArgument("servable_spec has " + std::to_string(message.size()) + " bytes; at most " +
                                   std::to_string(kMaxSpecBytes) + " are accepted");
  }
  WireReader fields(message);
  while (fields.next()) {
    if (fields.is(kSpecName, WireType::kBytes)) {
      name = fields.text();
    } else if (fields.is(kSpecMethod, WireType::kBytes)) {
      method = fields.text();
    } else if (fields.is(kSpecVersion, WireType::kVarint)) {
      version = fields.head().value;
    }
  }
  if (fields.step() != WireStep::kOk) return wire_error(fields.step(), "servable_spec");
  return {};
}

void OwnedSpec::set(const SpecFields& fields) {
  std::string names(fields.name);
  names += fields.method;
  fields_ = fields;
  names_ = std::move(names);
  fields_.name = std::string_view(names_).substr(0, fields.name.size());
  fields_.method = std::string_view(names_).substr(fields.name.size());
}

Status spec_changed() {
  return Status::InvalidArgument(
      "a second servable_spec after the instances differs from the first; send servable_spec once");
}

Status spec_missing() {
  return Status::InvalidArgument("the request has no servable_spec; it must name the servable and the method");
}

WireStep TensorFields::add(const WireHead& head, std::span<const std::byte> body) {
  if (head.is(kTensorDtype, WireType::kVarint)) {
    dtype = static_cast<std::uint32_t>(head.value);
    return WireStep::kOk;
  }
  if (head.type != WireType::kBytes) return WireStep::kOk;
  switch (head.number) {
    case kTensorShape: {
      const auto add_dim = [this](std::uint64_t dim) {
        if (rank < kMaxRank) dims[static_cast<std::size_t>(rank)] = static_cast<std::int64_t>(dim);
        ++rank;
      };
      WireReader fields(body);
      while (fields.next()) {
        if (fields.is(kShapeDims, WireType::kVarint)) {
          add_dim(fields.head().value);
        } else if (fields.is(kShapeDims, WireType::kBytes)) {  // packed
          const std::byte* at = fields.body().data();
          const std::byte* const end = at + fields.body().size();
          while (at != end) {
            std::uint64_t dim = 0;
            const WireStep step = wire_detail::read_varint(at, end, &dim, &at);
            if (step != WireStep::kOk) return step == WireStep::kMore ? WireStep::kTruncated : step;
            add_dim(dim);
          }
        }
      }
      return fields.step();
    }
    case kTensorData:
      data = body;
      data_bytes = head.body_bytes;
      has_shm_data = false;  // a oneof: the last one counts
      return WireStep::kOk;
    case kTensorBytesVal:
      text = body;
      text_bytes += head.body_bytes;
      ++text_count;
      return WireStep::kOk;
    case kTensorShmData:
      has_shm_data = true;
      return WireStep::kOk;
    default:
      return WireStep::kOk;
  }
}

WireStep TensorFields::merge(std::span<const std::byte> message) {
  WireReader fields(message);
  while (fields.next()) {
    const WireStep step = add(fields.head(), fields.body());
    if (step != WireStep::kOk) return step;
  }
  return fields.step();
}

Result<TensorFields::Value> TensorFields::check(int input, const RequestBuilder& builder) const {
  if (has_shm_data) {
    return builder.bad_input(input,
                             "shm_data is not supported (it was internal to the predecessor); send the bytes in data");
  }
  const std::optional<DataType> known = type_of_number(dtype);
  if (!known) {
    return builder.bad_input(input, "dtype is " + std::to_string(dtype) + (dtype == 0 ? " (MS_UNKNOWN)" : "") +
                                        "; expected 1 (MS_BOOL) to 14 (MS_BYTES)");
  }
  if (rank > kMaxRank) {
    return builder.bad_input(input, "the shape has " + std::to_string(rank) + " dimensions; at most " +
                                        std::to_string(kMaxRank) + " are supported");
  }
  const DataType type = *known;
  auto shape = Shape::from({dims.data(), static_cast<std::size_t>(rank)});
  if (!shape.ok()) return builder.bad_input(input, shape.status().message());
  std::uint64_t bytes = data_bytes;
  if (is_text(type)) {
    const auto count = shape->element_count();
    if (!count.ok()) return builder.bad_input(input, count.status().message());
    if (text_count != *count || data_bytes != 0) {
      const std::string wanted = rank == 0
                                     ? "exactly one bytes_val and no data"
                                     : "of shape " + shape->text() + " has exactly one bytes_val for each of its " +
                                           std::to_string(*count) + " elements and no data";
      return builder.bad_input(input, "a " + std::string(name_of(type)) + " tensor " + (rank == 0 ? "has " : "") +
                                          wanted + "; " + std::to_string(text_count) + " bytes_val and " +
                                          std::to_string(data_bytes) + " bytes of data came");
    }
    // A single text may be sent with either shape, and is the same value.
    if (rank == 1 && dims[0] == 1) *shape = Shape();
    bytes = shape->rank == 0 ? text_bytes : text_bytes + kTextHeadBytes * text_count;
  } else {
    if (text_count != 0) {
      return builder.bad_input(input, "a " + std::string(name_of(type)) + " tensor has its values in data; " +
                                          std::to_string(text_count) + " bytes_val came");
    }
  }
  return Value{*shape, bytes, type};
}

Status check_placed(const TensorFields::Value& value, const std::byte* data, int input, const RequestBuilder& builder) {
  if (!is_text(value.dtype)) return {};
  return builder.check_texts(input, value.dtype, value.shape, {data, static_cast<std::size_t>(value.bytes)},
                             "MS_BYTES");
}

namespace {

// Writes each bytes_val of a Tensor as an element; returns where the next one goes.
std::byte* put_texts(std::span<const std::byte> tensor, std::byte* to) {
  WireReader fields(tensor);
  while (fields.next()) {
    if (fields.is(kTensorBytesVal, WireType::kBytes)) to = put_text(fields.text(), to);
  }
  return to;
}

}  // namespace

Status read_item(std::span<const std::byte> message, RequestBuilder* builder) {
  std::string_view key;
  std::span<const std::byte> tensor;
  std::uint32_t tensors = 0;
  WireReader fields(message);
  while (fields.next()) {
    if (fields.is(kItemKey, WireType::kBytes)) {
      key = fields.text();
    } else if (fields.is(kItemValue, WireType::kBytes)) {
      tensor = fields.body();
      ++tensors;
    }
  }
  if (fields.step() != WireStep::kOk) return malformed(fields.step(), "an entry of items", *builder);
  const int input = builder->input(key);
  if (input < 0) return {};
  TensorFields value;
  WireStep step = WireStep::kOk;
  if (tensors == 1) {
    step = value.merge(tensor);
  } else {  // none, or several, which merge
    WireReader again(message);
    while (step == WireStep::kOk && again.next()) {
      if (again.is(kItemValue, WireType::kBytes)) step = value.merge(again.body());
    }
  }
  if (step != WireStep::kOk) return builder->bad_input(input, wire_error(step, "the Tensor").message());
  SERVOIR_ASSIGN_OR_RETURN(const TensorFields::Value checked, value.check(input, *builder));
  SERVOIR_ASSIGN_OR_RETURN(std::byte* const at, builder->tensor(input, checked.dtype, checked.shape, checked.bytes));
  if (checked.is_text_array()) {
    std::byte* to = at;
    WireReader values(message);
    while (values.next()) {
      if (values.is(kItemValue, WireType::kBytes)) to = put_texts(values.body(), to);
    }
  } else if (checked.bytes != 0) {
    std::memcpy(at, (is_text(checked.dtype) ? value.text : value.data).data(), static_cast<std::size_t>(checked.bytes));
  }
  return check_placed(checked, at, input, *builder);
}

Status read_instance(std::span<const std::byte> message, RequestBuilder* builder) {
  WireReader fields(message);
  while (fields.next()) {
    if (fields.is(kInstanceItems, WireType::kBytes)) {
      SERVOIR_RETURN_IF_ERROR(read_item(fields.body(), builder));
    } else if (fields.is(kInstanceOutputBuffers, WireType::kBytes)) {
      return output_buffers_refused(*builder);
    }
  }
  if (fields.step() != WireStep::kOk) return malformed(fields.step(), "the Instance", *builder);
  return builder->end_instance();
}

Status output_buffers_refused(const RequestBuilder& builder) {
  return Status::InvalidArgument("instance " + std::to_string(builder.instance()) +
                                 ": output_buffers are not supported (they were internal to the predecessor)");
}

Status malformed(WireStep step, std::string_view what, const RequestBuilder& builder) {
  return wire_error(step, "instance " + std::to_string(builder.instance()) + ": " + std::string(what));
}

}  // namespace servoir::seed
