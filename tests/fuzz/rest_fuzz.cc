// The REST reader on any body and path. What it accepts must be a request whose tensors are sound; what it says when it
// refuses must make an answer that is JSON again.

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "protocol/rest.h"
#include "protocol/utf8.h"
#include "protocol_world.h"

namespace {

using namespace servoir;  // NOLINT(google-build-using-namespace)

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "rest_fuzz: %s\n", what);
  std::abort();
}

void check_answer(Payload* payload) {
  const std::string body = payload_text(payload);
  simdjson::dom::parser parser;
  require(parser.parse(body).error() == simdjson::SUCCESS, "the answer is not JSON");
}

void check_request(Request* request) {
  for (std::uint32_t i = 0; i < request->instances; ++i) {
    for (std::uint32_t k = 0; k < request->method->spec->inputs.size(); ++k) {
      const TensorRef& value = request->at(k, i);
      require(static_cast<bool>(value.block), "an input is missing");
      if (!is_text(value.dtype)) {
        const auto bytes = value.shape.byte_size(value.dtype);
        require(bytes.ok() && *bytes == value.bytes, "the size does not fit the shape");
      } else if (value.dtype == DataType::kString && value.bytes != 0) {
        require(is_utf8({reinterpret_cast<const char*>(value.data()), value.bytes}), "a string is not UTF-8");
      }
    }
  }
  // Answer with the inputs as outputs: the writer must take all that the reader gives.
  const MethodSpec& method = *request->method->spec;
  for (std::uint32_t i = 0; i < request->instances; ++i) {
    for (const std::uint32_t output : method.outputs) request->at(output, i) = request->at(0, i);
  }
  Payload payload;
  require(write_rest_reply(*request, &payload) == 200, "the status of a good answer");
  check_answer(&payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ProtocolWorld world;
  if (size < 1) return 0;
  const std::uint8_t choice = data[0];
  const std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  std::string path = "/model/add:echo";
  std::string body(rest);
  if (choice % 4 == 1) body = "{\"instances\":[{\"x\":" + body + "}]}";
  if (choice % 4 == 2) body = "{\"instances\":[{\"x\":{\"b64\":" + body + "}}]}";
  if (choice % 4 == 3) {
    path = body;
    body = "{\"instances\":{\"x\":1}}";
  }
  std::vector<char> padded(body.begin(), body.end());
  padded.insert(padded.end(), kJsonPadding, static_cast<char>(choice));
  const auto request =
      read_rest_request(path, std::string_view(padded.data(), body.size()), world.scheduler.get(), world.slabs.get());
  if (request.ok()) {
    check_request(request.value().get());
  } else {
    Payload payload;
    require(write_rest_failure(request.status(), &payload) >= 400, "the status of a failure");
    check_answer(&payload);
  }
  return 0;
}
