// Both readers of PredictRequest on one message: read whole, and in pieces whose sizes the fuzzer chooses. They must
// agree on whether it is a request, and on every tensor of it. The message's first byte chooses the seed of a
// well-formed request that the rest is appended to, so that the fuzzer need not find the names first.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "seed/predict_messages.h"
#include "tensor/text_array.h"

namespace {

using namespace servoir;                  // NOLINT(google-build-using-namespace)
using namespace servoir::seed;            // NOLINT(google-build-using-namespace)
using namespace servoir::seed::messages;  // NOLINT(google-build-using-namespace)

// Sizes of pieces: 1 to 16 bytes for the heads at the front, then large ones, so that a filler costs little.
std::vector<std::size_t> pieces_of(std::uint8_t choice) {
  std::vector<std::size_t> sizes;
  for (int i = 0; i < 100; ++i) {
    sizes.push_back(std::size_t{1} + (choice & 15U));
    sizes.push_back(std::size_t{1} + (choice >> 4U));
  }
  sizes.push_back((choice & 1U) != 0 ? 1000 : 50000);
  return sizes;
}

bool same(const Request& a, const Request& b) {
  if (a.method != b.method || a.instances != b.instances) return false;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    const TensorRef& left = a.values[i];
    const TensorRef& right = b.values[i];
    if (!left.block || !right.block) {
      if (left.block || right.block) return false;
      continue;
    }
    if (left.dtype != right.dtype || left.shape != right.shape || left.bytes != right.bytes) return false;
    if (left.bytes != 0 && std::memcmp(left.data(), right.data(), left.bytes) != 0) return false;
  }
  return true;
}

// Texts that are not whole must not be let in, since nothing looks at them again before they are read.
bool sound(const Request& request) {
  return std::ranges::all_of(request.values, [](const TensorRef& value) {
    if (!value.block || !is_text(value.dtype) || value.bytes == 0) return true;
    return check_texts(value.shape, {value.data(), static_cast<std::size_t>(value.bytes)}).ok();
  });
}

std::string message_of(std::uint8_t choice, std::string_view rest) {
  // Large entries take another way through the stream: the filler makes them so.
  static const std::string filler(70000, 'f');
  std::string dtype_and_shape = field(1, shape({70000}));
  protozero::pbf_writer(dtype_and_shape).add_enum(2, 3);
  const std::string tail(rest);
  switch (choice % 8) {
    case 0:
      return tail;
    case 1:
      return field(1, spec("add")) + tail;
    case 2:
      return field(1, spec("echo")) + field(2, tail);
    case 3:
      return field(1, spec("echo")) + field(2, field(1, field(1, "x") + tail));
    case 4:
      return field(1, spec("echo")) + field(2, field(1, item("x", tail)));
    case 5:  // a large instance
      return field(1, spec("echo")) + field(2, tail + field(9, filler)) + tail;
    case 6:  // a large entry
      return field(1, spec("echo")) + field(2, field(1, tail + item("x", dtype_and_shape + field(3, filler))));
    default:  // a large tensor
      return field(1, spec("echo")) + field(2, field(1, item("x", tail + dtype_and_shape + field(3, filler))));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ProtocolWorld world;
  if (size < 2) return 0;
  const std::string message = message_of(data[0], {reinterpret_cast<const char*>(data + 2), size - 2});
  const auto whole = read_whole(&world, message);
  const auto streamed = read_stream(&world, message, pieces_of(data[1]));
  if (whole.ok() != streamed.ok() ||
      (whole.ok() && !(same(*whole.value(), *streamed.value()) && sound(*whole.value())))) {
    std::fprintf(stderr, "whole:  %.300s\nstream: %.300s\n", result_text(whole).c_str(), result_text(streamed).c_str());
    std::abort();
  }
  return 0;
}
