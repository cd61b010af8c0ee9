// Base64 of RFC 4648 (alphabet with + and /, padded), strict: nothing is skipped, not even white space.
//
// Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"

namespace servoir {

[[nodiscard]] constexpr std::uint64_t base64_encoded_bytes(std::uint64_t bytes) { return (bytes + 2) / 3 * 4; }
// `out` has room for base64_encoded_bytes(bytes.size()).
void base64_encode(std::span<const std::byte> bytes, char* out);

// Bytes that the text stands for, by its length and padding alone; InvalidArgument unless the length is a multiple
// of 4.
[[nodiscard]] Result<std::uint64_t> base64_decoded_bytes(std::string_view text);
// `out` has room for base64_decoded_bytes(text). InvalidArgument naming the first illegal character and its position.
[[nodiscard]] Status base64_decode(std::string_view text, std::byte* out);

}  // namespace servoir
