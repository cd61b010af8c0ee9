// Bytes survive the way to base64 and back; any text is decoded or refused, and what is decoded gives the same text
// again but for the unused bits of its last character.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "protocol/base64.h"

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "base64_fuzz: %s\n", what);
  std::abort();
}

std::string encode(std::span<const std::byte> bytes) {
  std::string text(servoir::base64_encoded_bytes(bytes.size()), '\0');
  servoir::base64_encode(bytes, text.data());
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const std::string text = encode(bytes);
  const auto length = servoir::base64_decoded_bytes(text);
  require(length.ok() && *length == size, "the length of encoded bytes");
  std::vector<std::byte> back(size);
  require(servoir::base64_decode(text, back.data()).ok(), "encoded bytes are refused");
  require(size == 0 || std::memcmp(back.data(), data, size) == 0, "the bytes have changed");

  const std::string_view any(reinterpret_cast<const char*>(data), size);
  const auto any_length = servoir::base64_decoded_bytes(any);
  if (!any_length.ok()) return 0;
  std::vector<std::byte> decoded(*any_length);
  if (!servoir::base64_decode(any, decoded.data()).ok()) return 0;
  const std::string again = encode(decoded);
  require(again.size() == any.size(), "the length of the text has changed");
  for (std::size_t i = 0; i < any.size(); ++i) {
    const bool last_with_padding = i + 1 < any.size() && any[i + 1] == '=';
    require(again[i] == any[i] || last_with_padding, "the text has changed");
  }
  return 0;
}
