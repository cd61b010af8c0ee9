#include "protocol/protobuf.h"

#include <string>

namespace servoir {

namespace wire_detail {

WireStep read_varint_slow(const std::byte* at, const std::byte* end, std::uint64_t* value, const std::byte** after) {
  std::uint64_t result = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at == end) return WireStep::kMore;
    const auto byte = std::to_integer<std::uint64_t>(*at++);
    result |= (byte & 0x7FU) << shift;  // what a tenth byte has above bit 63 is dropped, as protobuf does
    if (byte < 0x80U) {
      *value = result;
      *after = at;
      return WireStep::kOk;
    }
  }
  return WireStep::kVarint;
}

}  // namespace wire_detail

Status wire_error(WireStep step, std::string_view where) {
  std::string text(where);
  switch (step) {
    case WireStep::kVarint:
      text += " is malformed: it has a varint of more than 10 bytes";
      break;
    case WireStep::kTag:
      text +=
          " is malformed: it has a tag with field number 0, a number above 536870911, or a wire type other than 0, 1, "
          "2 and 5";
      break;
    default:
      text += " is malformed: it ends within a field, or a field's length passes its end";
      break;
  }
  return Status::InvalidArgument(std::move(text));
}

}  // namespace servoir
