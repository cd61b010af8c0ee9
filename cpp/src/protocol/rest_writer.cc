// The body of a REST answer: {"instances": [{output: value, …} | {"error_msg": text}, …]}, or {"error_msg": text}.

#include <algorithm>

#include "protocol/json_writer.h"
#include "protocol/outcome.h"
#include "protocol/rest.h"

namespace servoir {
namespace {

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
  JsonWriter json(out);
  json.raw("{\"instances\":[");
  int worst = 0;
  for (std::uint32_t i = 0; i < request.instances; ++i) {
    if (i != 0) json.raw(",");
    write_instance(request, i, &json);
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
