// The body of a REST answer: {"instances": [{output: value, …} | {"error_msg": text}, …]}, or {"error_msg": text}.

#include <algorithm>
#include <cstdint>
#include <string>

#include "protocol/base64.h"
#include "protocol/json_writer.h"
#include "protocol/outcome.h"
#include "protocol/rest.h"

namespace servoir {
namespace {

// Many clients and proxies count a body in 32 bits.
constexpr std::uint64_t kMaxBody = UINT32_MAX;

// How long a value's text is at least: one character an element, and what stands between them.
std::uint64_t least_text(const TensorRef& value) {
  if (value.dtype == DataType::kBytes) return base64_encoded_bytes(value.bytes);
  if (is_text(value.dtype) || value.bytes == 0) return value.bytes;
  const std::uint32_t element = element_bytes(value.dtype);
  return element == 0 ? 0 : 2 * (value.bytes / element) - 1;
}

// The same tensor may stand in many outputs, so that the text is far longer than all memory of tensors.
bool is_too_long(const Request& request) {
  const MethodSpec& method = *request.method->spec;
  std::uint64_t least = 0;
  for (std::uint32_t i = 0; i < request.instances; ++i) {
    if (!request.errors[i].ok()) continue;
    for (const std::uint32_t output : method.outputs) {
      least += std::min(least_text(request.at(output, i)), kMaxBody + 1);
      if (least > kMaxBody) return true;
    }
  }
  return false;
}

int write_too_long(Payload* out) {
  *out = Payload();
  return write_rest_failure(Status::Internal("the reply would be longer than " + std::to_string(kMaxBody) +
                                             " bytes of JSON, the most that is sent: ask for less in one request"),
                            out);
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

int write_rest_reply(const Request& request, Payload* out) {
  const Outcome outcome = outcome_of(request);
  if (outcome.folded != nullptr) return write_rest_failure(*outcome.folded, out);
  if (is_too_long(request)) return write_too_long(out);
  JsonWriter json(out);
  json.raw("{\"instances\":[");
  int worst = 0;
  for (std::uint32_t i = 0; i < request.instances; ++i) {
    if (i != 0) json.raw(",");
    write_instance(request, i, &json);
    if (out->size() > kMaxBody) return write_too_long(out);
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

}  // namespace servoir
