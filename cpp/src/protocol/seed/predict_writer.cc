// PredictReply. A protobuf message has its length before its bytes, so each is measured before it is written: an
// instance by its items, an item by its tensor. Nothing is built up in between; tensors of Payload::kReferenceBytes and
// more stay where they are.

#include "protocol/seed/predict_writer.h"

#include <cstring>
#include <string>

#include "protocol/outcome.h"
#include "protocol/protobuf.h"
#include "protocol/seed/data_type.h"
#include "protocol/seed/predict_tensor.h"
#include "protocol/utf8.h"
#include "tensor/half.h"
#include "tensor/text_array.h"

namespace servoir::seed {

using namespace predict_fields;  // NOLINT(google-build-using-namespace)

namespace {

// Codes of the predecessor; clients test for non-zero only.
enum class ErrorCode : std::uint8_t {
  kFailed = 1,
  kInvalidInput = 2,
  kSystemError = 3,
  kWorkerNotAvailable = 4,
  kServableNotAvailable = 5,
};

ErrorCode error_code(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
      return ErrorCode::kInvalidInput;
    case Code::kResourceExhausted:
    case Code::kDataLoss:
      return ErrorCode::kSystemError;
    case Code::kUnavailable:
      return ErrorCode::kWorkerNotAvailable;
    case Code::kNotFound:
      return ErrorCode::kServableNotAvailable;
    default:
      return ErrorCode::kFailed;
  }
}

// Of a reply: tags, lengths and the number of the version.
constexpr std::uint64_t kMostOfHeads = 40;

// Lengths of one entry of Instance.items.
struct ItemBytes {
  std::uint64_t dims = 0;    // the packed dims
  std::uint64_t shape = 0;   // TensorShape
  std::uint64_t value = 0;   // the fields of Tensor that have its value
  std::uint64_t tensor = 0;  // Tensor
  std::uint64_t item = 0;    // the entry
};

// The protocol has no bfloat16. Such a value is sent as float32, of which it is the upper half.
bool is_widened(const TensorRef& value) { return value.dtype == DataType::kBfloat16; }
std::uint64_t sent_bytes(const TensorRef& value) { return is_widened(value) ? 2 * value.bytes : value.bytes; }
std::uint64_t sent_type(const TensorRef& value) {
  return number_of_type(is_widened(value) ? DataType::kFloat32 : value.dtype);
}

void write_widened(const TensorRef& value, WireRegion* to) {
  for (std::uint64_t at = 0; at < value.bytes; at += sizeof(std::uint16_t)) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, value.data() + at, sizeof(bits));
    const float wide = from_bfloat16(bits);
    to->bytes(&wide, sizeof(wide));
  }
}

bool is_text_array(const TensorRef& value) { return is_text(value.dtype) && value.shape.rank != 0; }

TextReader texts_of(const TensorRef& value) {
  return TextReader({value.data(), static_cast<std::size_t>(value.bytes)});
}

std::uint64_t value_bytes(const TensorRef& value) {
  if (!is_text_array(value)) return delimited_bytes(kTensorData, sent_bytes(value));
  std::uint64_t bytes = 0;
  std::string_view element;
  for (TextReader texts = texts_of(value); texts.next(&element);) {
    bytes += delimited_bytes(kTensorBytesVal, element.size());
  }
  return bytes;
}

// A bytes_val for each element.
void write_texts(const TensorRef& value, Payload* out) {
  TensorRef part{value.block, 0, 0, value.dtype, Shape()};
  std::string_view element;
  for (TextReader texts = texts_of(value); texts.next(&element);) {
    WireRegion(out, delimited_bytes(kTensorBytesVal, element.size()) - element.size())
        .head(kTensorBytesVal, element.size());
    part.bytes = element.size();
    part.offset = value.offset + value.bytes - texts.rest().size() - part.bytes;
    out->append(part);
  }
}

ItemBytes measure(std::string_view name, const TensorRef& value) {
  ItemBytes bytes;
  for (const std::int64_t dim : value.shape.view()) bytes.dims += varint_bytes(static_cast<std::uint64_t>(dim));
  bytes.shape = value.shape.rank == 0 ? 0 : delimited_bytes(kShapeDims, bytes.dims);
  bytes.value = value_bytes(value);
  bytes.tensor =
      delimited_bytes(kTensorShape, bytes.shape) + number_bytes(kTensorDtype, sent_type(value)) + bytes.value;
  bytes.item = delimited_bytes(kItemKey, name.size()) + delimited_bytes(kItemValue, bytes.tensor);
  return bytes;
}

void write_item(std::string_view name, const TensorRef& value, Payload* out) {
  const ItemBytes bytes = measure(name, value);
  const bool texts = is_text_array(value);
  const bool referenced = value.bytes >= Payload::kReferenceBytes && !is_widened(value) && !texts;
  {
    const std::uint64_t apart = texts ? bytes.value : referenced ? value.bytes : 0;
    WireRegion to(out, delimited_bytes(kInstanceItems, bytes.item) - apart);
    to.head(kInstanceItems, bytes.item);
    to.delimited(kItemKey, name);
    to.head(kItemValue, bytes.tensor);
    to.head(kTensorShape, bytes.shape);
    if (value.shape.rank != 0) {
      to.head(kShapeDims, bytes.dims);
      for (const std::int64_t dim : value.shape.view()) to.varint(static_cast<std::uint64_t>(dim));
    }
    to.number(kTensorDtype, sent_type(value));
    if (!texts) to.head(is_text(value.dtype) ? kTensorBytesVal : kTensorData, sent_bytes(value));
    if (is_widened(value)) {
      write_widened(value, &to);
    } else if (!referenced && !texts && value.bytes != 0) {
      to.bytes(value.data(), value.bytes);
    }
  }
  if (referenced) out->append(value);
  if (texts) write_texts(value, out);
}

// Of Instance: nothing if it failed.
std::uint64_t instance_bytes(const Request& request, std::uint32_t instance) {
  if (!request.errors[instance].ok()) return 0;
  const MethodSpec& method = *request.method->spec;
  std::uint64_t bytes = 0;
  for (std::size_t k = 0; k < method.outputs.size(); ++k) {
    bytes +=
        delimited_bytes(kInstanceItems, measure(method.output_names[k], request.at(method.outputs[k], instance)).item);
  }
  return bytes;
}

void write_instance(const Request& request, std::uint32_t instance, std::uint64_t body, Payload* out) {
  const MethodSpec& method = *request.method->spec;
  WireRegion(out, number_bytes(kReplyInstances, body)).head(kReplyInstances, body);
  if (body == 0) return;
  for (std::size_t k = 0; k < method.outputs.size(); ++k) {
    write_item(method.output_names[k], request.at(method.outputs[k], instance), out);
  }
}

void write_spec(std::string_view servable, std::uint64_t version, std::string_view method, Payload* out) {
  // proto3: fields with their default value are not written.
  const std::uint64_t body = (servable.empty() ? 0 : delimited_bytes(kSpecName, servable.size())) +
                             (method.empty() ? 0 : delimited_bytes(kSpecMethod, method.size())) +
                             (version == 0 ? 0 : number_bytes(kSpecVersion, version));
  WireRegion to(out, delimited_bytes(kReplySpec, body));
  to.head(kReplySpec, body);
  if (!servable.empty()) to.delimited(kSpecName, servable);
  if (!method.empty()) to.delimited(kSpecMethod, method);
  if (version != 0) {
    to.number(kSpecVersion, version);
  }
}

void write_error(const Status& error, Payload* out) {
  if (error.ok()) {  // an ErrorMsg with code 0 and no text
    WireRegion(out, number_bytes(kReplyErrors, 0)).head(kReplyErrors, 0);
    return;
  }
  const std::string text = to_utf8(error.message());
  const auto code = static_cast<std::uint64_t>(error_code(error.code()));
  const std::uint64_t body = number_bytes(kErrorCode, code) + delimited_bytes(kErrorText, text.size());
  WireRegion to(out, delimited_bytes(kReplyErrors, body));
  to.head(kReplyErrors, body);
  to.number(kErrorCode, code);
  to.delimited(kErrorText, text);
}

}  // namespace

void write_predict_reply(const Request& request, Payload* out) {
  const ServableSpec& servable = *request.method->servable;
  const Outcome outcome = outcome_of(request);
  if (outcome.folded != nullptr) {
    write_predict_failure(servable.name, servable.version, request.method->spec->name, *outcome.folded, out);
    return;
  }
  std::uint64_t body = instance_bytes(request, 0);
  // Most replies are a single small piece.
  if (request.instances == 1 && body < Payload::kReferenceBytes) {
    out->reserve(body + servable.name.size() + request.method->spec->name.size() + kMostOfHeads);
  }
  write_spec(servable.name, servable.version, request.method->spec->name, out);
  for (std::uint32_t i = 0; i < request.instances; ++i) {
    if (i > 0) body = instance_bytes(request, i);
    write_instance(request, i, body, out);
  }
  if (outcome.failed == 0) return;
  for (const Status& error : request.errors) write_error(error, out);
}

void write_predict_failure(std::string_view servable, std::uint64_t version, std::string_view method,
                           const Status& failure, Payload* out) {
  write_spec(to_utf8(servable), version, to_utf8(method), out);
  write_error(failure, out);
}

}  // namespace servoir::seed
