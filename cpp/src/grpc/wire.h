// The small texts of gRPC over HTTP/2.
//
//   message       := compressed (1 byte, 0 or 1) length (4 bytes, big-endian) length*OCTET
//   grpc-timeout  := 1*8DIGIT unit          unit := H (hours) M (minutes) S (seconds) m (ms) u (us) n (ns)
//   grpc-message  := UTF-8 in which all but 0x20…0x7E, and '%', is written %XX
//
// Pure functions.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace servoir::grpc {

inline constexpr std::size_t kGrpcPrefixBytes = 5;

struct GrpcPrefix {
  std::uint8_t flag = 0;  // 0: as is, 1: compressed, others are not allowed
  std::uint32_t bytes = 0;
};
[[nodiscard]] GrpcPrefix read_grpc_prefix(std::span<const std::byte, kGrpcPrefixBytes> prefix);
void write_grpc_prefix(std::uint32_t bytes, std::span<char, kGrpcPrefixBytes> prefix);

// Nothing if the text is not a grpc-timeout. A time too long for the clock is cut to it.
[[nodiscard]] std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view text);

// Cut at a length that clients take.
[[nodiscard]] std::string encode_grpc_message(std::string_view text);

// Whether it is application/grpc, application/grpc+proto or either with parameters.
[[nodiscard]] bool is_grpc_content_type(std::string_view text);

}  // namespace servoir::grpc
