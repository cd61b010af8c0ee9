// The body of a REST answer: {"instances": [{output: value, …} | {"error_msg": text}, …]}, or {"error_msg": text}.

#include "protocol/seed/rest_writer.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/text.h"
#include "protocol/base64.h"
#include "protocol/http_status.h"
#include "protocol/json_writer.h"
#include "protocol/outcome.h"

namespace servoir::seed {
namespace {

// Many clients and proxies count a body in 32 bits.
constexpr std::uint64_t kMaxBody = UINT32_MAX;

// Empty arrays in one reply. A shape of many takes no memory, so nothing else limits them.
constexpr std::uint64_t kMaxWrittenArrays = 1U << 24U;

// How long a value's text is at least: one character an element, two an empty array, and a comma after each but the
// last.
std::uint64_t least_text(const TensorRef& value) {
  if (is_text(value.dtype) && value.shape.rank != 0 && value.bytes != 0) {
    // At least the quotes, and a comma after each but the last, where the length of an element takes four bytes.
    const auto count = value.shape.element_count();
    return count.ok() && *count < value.bytes ? value.bytes - *count - 1 : 0;
  }
  if (value.dtype == DataType::kBytes && value.bytes != 0) return base64_encoded_bytes(value.bytes);
  if (is_text(value.dtype) && value.shape.rank == 0) return value.bytes;
  if (value.bytes == 0) return 3 * std::min(value.shape.empty_arrays(), kMaxBody) - 1;
  const std::uint32_t element = element_bytes(value.dtype);
  return element == 0 ? 0 : 2 * (value.bytes / element) - 1;
}

Status too_long() {
  return Status::Internal("the reply would be longer than " + std::to_string(kMaxBody) +
                          " bytes of JSON, the most that is sent: ask for less in one request");
}

Status no_room(std::uint64_t bytes) {
  return Status::Unavailable("the answer finds no memory after " + std::to_string(bytes) +
                             " bytes: other REST clients have not read theirs; try again later, or ask for less in one "
                             "request");
}

// The same tensor may stand in many outputs, and shapes of no elements may have any number of empty arrays, so that the
// text is far longer than all memory of tensors.
Status check_length(const Request& request) {
  const MethodSpec& method = *request.method->spec;
  std::uint64_t least = 0;
  std::uint64_t empty_arrays = 0;
  for (std::uint32_t i = 0; i < request.instances; ++i) {
    if (!request.errors[i].ok()) continue;
    for (std::size_t k = 0; k < method.outputs.size(); ++k) {
      const TensorRef& value = request.at(method.outputs[k], i);
      if (value.bytes == 0 && value.shape.empty_arrays() > 1) {
        empty_arrays += std::min(value.shape.empty_arrays(), kMaxWrittenArrays + 1);
        if (empty_arrays > kMaxWrittenArrays) {
          return Status::Internal("instance " + std::to_string(i) + ", output " + quoted(method.output_names[k]) +
                                  ": the shape " + value.shape.text() + " has no element, but " +
                                  std::to_string(value.shape.empty_arrays()) + " empty arrays before its first 0; " +
                                  "at most " + std::to_string(kMaxWrittenArrays) + " are written in one JSON reply");
        }
      }
      least += std::min(least_text(value), kMaxBody + 1);
      if (least > kMaxBody) return too_long();
    }
  }
  return {};
}

int write_instead(const Status& failure, Payload* out) {
  *out = Payload();
  return write_rest_failure(failure, out);
}

void write_error(std::string_view text, JsonWriter* json) {
  json->raw("{\"error_msg\":");
  json->string(text);
  json->raw("}");
}

void write_instance(const Request& request, std::uint32_t instance, JsonWriter* json) {
  if (const Status& error = request.errors[instance]; !error.ok()) {
    write_error(error.message(), json);
    return;
  }
  const MethodSpec& method = *request.method->spec;
  json->raw("{");
  for (std::size_t k = 0; k < method.outputs.size(); ++k) {
    if (k != 0) json->raw(",");
    json->string(method.output_names[k]);
    json->raw(":");
    json->tensor(request.at(method.outputs[k], instance));
  }
  json->raw("}");
}

}  // namespace

std::uint64_t least_rest_reply(const Request& request, std::uint64_t enough) {
  if (!request.failure.ok()) return 0;
  std::uint64_t least = 0;
  for (std::uint32_t i = 0; i < request.instances && least < enough; ++i) {
    if (!request.errors[i].ok()) continue;
    for (const std::uint32_t output : request.method->spec->outputs) least += least_text(request.at(output, i));
  }
  return std::min(least, enough);
}

int write_rest_reply(const Request& request, Payload* out, const ReplyRoom& room) {
  const Outcome outcome = outcome_of(request);
  if (outcome.folded != nullptr) return write_rest_failure(*outcome.folded, out);
  if (const Status length = check_length(request); !length.ok()) return write_instead(length, out);
  JsonWriter json(out, kMaxBody, room);
  json.raw("{\"instances\":[");
  int worst = 0;
  for (std::uint32_t i = 0; i < request.instances; ++i) {
    if (i != 0) json.raw(",");
    write_instance(request, i, &json);
    if (json.full()) return write_instead(out->size() > kMaxBody ? too_long() : no_room(out->size()), out);
    worst = std::max(worst, http_status(request.errors[i].code()));
  }
  json.raw("]}");
  json.flush();
  return outcome.failed == request.instances ? worst : 200;
}

int write_rest_failure(const Status& failure, Payload* out) {
  JsonWriter json(out);
  write_error(failure.message(), &json);
  json.flush();
  return http_status(failure.code());
}

}  // namespace servoir::seed
