// Both readers of PredictRequest on one message: read whole, and in pieces whose sizes the fuzzer chooses. They must
// agree on whether it is a request, and on every tensor of it. The message's first byte chooses the seed of a
// well-formed one that the rest is put behind, so that the fuzzer need not find the names first.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "predict_messages.h"

namespace {

using namespace servoir;            // NOLINT(google-build-using-namespace)
using namespace servoir::messages;  // NOLINT(google-build-using-namespace)

// Sizes of pieces: 1 to 16 bytes where the bits say so, some much larger.
std::vector<std::size_t> pieces_of(std::uint8_t shape) {
  std::vector<std::size_t> sizes = {std::size_t{1} + (shape & 15U), std::size_t{1} + (shape >> 4U)};
  if ((shape & 3U) == 3U) sizes.push_back(5000);
  if ((shape & 12U) == 12U) sizes.push_back(70000);
  return sizes;
}

std::string message_of(std::uint8_t choice, std::string_view rest) {
  // Large entries take another way through the stream: the filler makes them so.
  const std::string filler(70000, 'f');
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
  const std::string whole_text = result_text(whole);
  const std::string streamed_text = result_text(streamed);
  if (whole.ok() != streamed.ok() || (whole.ok() && whole_text != streamed_text)) {
    std::fprintf(stderr, "whole:  %.300s\nstream: %.300s\n", whole_text.c_str(), streamed_text.c_str());
    std::abort();
  }
  return 0;
}
