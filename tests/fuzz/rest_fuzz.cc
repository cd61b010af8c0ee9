// The REST reader on any body and path. What it accepts must be a request whose tensors are sound; what it says when it
// refuses must make an answer that is JSON again.

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/seed/rest_reader.h"
#include "protocol/seed/rest_writer.h"
#include "protocol/utf8.h"
#include "protocol_world.h"
#include "tensor/text_array.h"

namespace {

using namespace servoir;        // NOLINT(google-build-using-namespace)
using namespace servoir::seed;  // NOLINT(google-build-using-namespace)

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
        continue;
      }
      std::span<const std::byte> bytes;
      if (value.bytes != 0) bytes = {value.data(), static_cast<std::size_t>(value.bytes)};
      require(check_texts(value.shape, bytes).ok(), "an array of texts is not whole");
      if (value.dtype != DataType::kString) continue;
      std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      TextReader texts(bytes);
      while (value.shape.rank == 0 || texts.next(&text)) {
        require(is_utf8(text), "a string is not UTF-8");
        if (value.shape.rank == 0) break;
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
  std::string path = (choice & 4U) != 0 ? "/model/add:floats" : "/model/add:echo";
  const bool take_nonfinite = (choice & 8U) != 0;
  std::string body(rest);
  if (choice % 4 == 1) body = "{\"instances\":[{\"x\":" + body + "}]}";
  if (choice % 4 == 2) body = "{\"instances\":[{\"x\":{\"b64\":" + body + "}}]}";
  if (choice % 4 == 3) {
    path = body;
    body = "{\"instances\":{\"x\":1}}";
  }
  std::vector<char> padded(body.begin(), body.end());
  padded.insert(padded.end(), kJsonPadding, static_cast<char>(choice));
  const auto request = read_rest_request(path, std::string_view(padded.data(), body.size()), world.scheduler.get(),
                                         world.slabs.get(), nullptr, take_nonfinite);
  if (request.ok()) {
    check_request(request.value().get());
  } else {
    Payload payload;
    require(write_rest_failure(request.status(), &payload) >= 400, "the status of a failure");
    check_answer(&payload);
  }
  return 0;
}
