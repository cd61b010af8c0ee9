// PredictReply. A protobuf message has its length before its bytes, so each is measured before it is written: an
// instance by its items, an item by its tensor. Nothing is built up in between; tensors of Payload::kReferenceBytes and
// more stay where they are.

#include <cstring>
#include <limits>
#include <protozero/varint.hpp>

#include "protocol/outcome.h"
#include "protocol/predict.h"
#include "protocol/predict_tensor.h"
#include "protocol/utf8.h"
#include "protocol/wire.h"

namespace servoir {

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

std::uint64_t varint_bytes(std::uint64_t value) {
  return static_cast<std::uint64_t>(protozero::length_of_varint(value));
}

// All field numbers here are below 16, so a tag is one byte.
constexpr char tag(std::uint32_t number, WireType type) {
  return static_cast<char>(number << 3U | static_cast<std::uint32_t>(type));
}

std::uint64_t delimited_bytes(std::uint64_t body) { return 1 + varint_bytes(body) + body; }

// A region at the end of the payload's tail, of a size known beforehand.
class Region {
 public:
  Region(Payload* out, std::uint64_t bytes) : out_(out), bytes_(bytes) {
    std::string& tail = out->tail();
    const std::size_t before = tail.size();
    tail.resize(before + static_cast<std::size_t>(bytes));
    at_ = tail.data() + before;
  }
  ~Region() { out_->size_changed(bytes_); }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  void byte(char value) { *at_++ = value; }
  void varint(std::uint64_t value) {
    while (value >= 0x80U) {
      *at_++ = static_cast<char>(value | 0x80U);
      value >>= 7U;
    }
    *at_++ = static_cast<char>(value);
  }
  void head(std::uint32_t number, std::uint64_t body_bytes) {
    byte(tag(number, WireType::kBytes));
    varint(body_bytes);
  }
  void bytes(const void* from, std::uint64_t count) {
    if (count == 0) return;
    std::memcpy(at_, from, static_cast<std::size_t>(count));
    at_ += count;
  }
  void delimited(std::uint32_t number, std::string_view value) {
    head(number, value.size());
    bytes(value.data(), value.size());
  }

 private:
  Payload* out_;
  std::uint64_t bytes_;
  char* at_ = nullptr;
};

// Lengths of one entry of Instance.items.
struct ItemBytes {
  std::uint64_t dims = 0;    // the packed dims
  std::uint64_t shape = 0;   // TensorShape
  std::uint64_t tensor = 0;  // Tensor
  std::uint64_t item = 0;    // the entry
};

ItemBytes measure(std::string_view name, const TensorRef& value) {
  ItemBytes bytes;
  for (const std::int64_t dim : value.shape.view()) bytes.dims += varint_bytes(static_cast<std::uint64_t>(dim));
  bytes.shape = value.shape.rank == 0 ? 0 : delimited_bytes(bytes.dims);
  bytes.tensor = delimited_bytes(bytes.shape) + 2 + delimited_bytes(value.bytes);
  bytes.item = delimited_bytes(name.size()) + delimited_bytes(bytes.tensor);
  return bytes;
}

void write_item(std::string_view name, const TensorRef& value, Payload* out) {
  const ItemBytes bytes = measure(name, value);
  const bool referenced = value.bytes >= Payload::kReferenceBytes;
  {
    Region to(out, delimited_bytes(bytes.item) - (referenced ? value.bytes : 0));
    to.head(kInstanceItems, bytes.item);
    to.delimited(kItemKey, name);
    to.head(kItemValue, bytes.tensor);
    to.head(kTensorShape, bytes.shape);
    if (value.shape.rank != 0) {
      to.head(kShapeDims, bytes.dims);
      for (const std::int64_t dim : value.shape.view()) to.varint(static_cast<std::uint64_t>(dim));
    }
    to.byte(tag(kTensorDtype, WireType::kVarint));
    to.byte(static_cast<char>(value.dtype));
    to.head(is_text(value.dtype) ? kTensorBytesVal : kTensorData, value.bytes);
    if (!referenced && value.bytes != 0) to.bytes(value.data(), value.bytes);
  }
  if (referenced) out->append(value);
}

void write_instance(const Request& request, std::uint32_t instance, Payload* out) {
  const MethodSpec& method = *request.method->spec;
  std::uint64_t body = 0;
  if (request.errors[instance].ok()) {
    for (std::size_t k = 0; k < method.outputs.size(); ++k) {
      body += delimited_bytes(measure(method.output_names[k], request.at(method.outputs[k], instance)).item);
    }
  }
  Region(out, 1 + varint_bytes(body)).head(kReplyInstances, body);
  if (body == 0) return;
  for (std::size_t k = 0; k < method.outputs.size(); ++k) {
    write_item(method.output_names[k], request.at(method.outputs[k], instance), out);
  }
}

void write_spec(std::string_view servable, std::uint64_t version, std::string_view method, Payload* out) {
  // proto3: fields with their default value are not written.
  const std::uint64_t body = (servable.empty() ? 0 : delimited_bytes(servable.size())) +
                             (method.empty() ? 0 : delimited_bytes(method.size())) +
                             (version == 0 ? 0 : 1 + varint_bytes(version));
  Region to(out, delimited_bytes(body));
  to.head(kReplySpec, body);
  if (!servable.empty()) to.delimited(kSpecName, servable);
  if (!method.empty()) to.delimited(kSpecMethod, method);
  if (version != 0) {
    to.byte(tag(kSpecVersion, WireType::kVarint));
    to.varint(version);
  }
}

void write_error(const Status& error, Payload* out) {
  if (error.ok()) {  // an ErrorMsg with code 0 and no text
    Region(out, 2).head(kReplyErrors, 0);
    return;
  }
  const std::string text = to_utf8(error.message());
  const std::uint64_t body = 2 + delimited_bytes(text.size());
  Region to(out, delimited_bytes(body));
  to.head(kReplyErrors, body);
  to.byte(tag(kErrorCode, WireType::kVarint));
  to.byte(static_cast<char>(error_code(error.code())));
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
  write_spec(servable.name, servable.version, request.method->spec->name, out);
  for (std::uint32_t i = 0; i < request.instances; ++i) write_instance(request, i, out);
  if (outcome.failed == 0) return;
  for (const Status& error : request.errors) write_error(error, out);
}

void write_predict_failure(std::string_view servable, std::uint64_t version, std::string_view method,
                           const Status& failure, Payload* out) {
  write_spec(to_utf8(servable), version, to_utf8(method), out);
  write_error(failure, out);
}

}  // namespace servoir
