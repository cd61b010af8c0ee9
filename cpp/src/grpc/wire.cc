#include "grpc/wire.h"

#include <limits>

namespace servoir::grpc {
namespace {

constexpr std::size_t kMaxMessageText = 4096;  // clients accept 8 KiB of headers, and this may triple one in four bytes

}  // namespace

GrpcPrefix read_grpc_prefix(std::span<const std::byte, kGrpcPrefixBytes> prefix) {
  GrpcPrefix result;
  result.flag = std::to_integer<std::uint8_t>(prefix[0]);
  for (std::size_t i = 1; i < kGrpcPrefixBytes; ++i) {
    result.bytes = result.bytes << 8U | std::to_integer<std::uint32_t>(prefix[i]);
  }
  return result;
}

void write_grpc_prefix(std::uint32_t bytes, std::span<char, kGrpcPrefixBytes> prefix) {
  prefix[0] = 0;
  for (std::size_t i = kGrpcPrefixBytes - 1; i > 0; --i) {
    prefix[i] = static_cast<char>(bytes & 0xFFU);
    bytes >>= 8U;
  }
}

std::optional<std::chrono::nanoseconds> parse_grpc_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  std::int64_t value = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  std::int64_t unit = 1;
  switch (text.back()) {
    case 'H':
      unit = 3'600'000'000'000;
      break;
    case 'M':
      unit = 60'000'000'000;
      break;
    case 'S':
      unit = 1'000'000'000;
      break;
    case 'm':
      unit = 1'000'000;
      break;
    case 'u':
      unit = 1'000;
      break;
    case 'n':
      break;
    default:
      return std::nullopt;
  }
  // Half of the clock's range, so that the time can be added to any point of it.
  constexpr std::int64_t kLongest = std::numeric_limits<std::int64_t>::max() / 2;
  return std::chrono::nanoseconds(value > kLongest / unit ? kLongest : value * unit);
}

std::string encode_grpc_message(std::string_view text) {
  static constexpr std::string_view kHex = "0123456789ABCDEF";
  if (text.size() > kMaxMessageText) {
    text = text.substr(0, kMaxMessageText);
    // Not in the middle of a UTF-8 sequence.
    std::size_t end = text.size();
    while (end > 0 && (static_cast<unsigned char>(text[end - 1]) & 0xC0U) == 0x80U) --end;
    if (end > 0 && static_cast<unsigned char>(text[end - 1]) >= 0xC0U) --end;
    text = text.substr(0, end);
  }
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte <= 0x7E && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 0xFU];
    }
  }
  return out;
}

bool is_grpc_content_type(std::string_view text) {
  constexpr std::string_view kGrpc = "application/grpc";
  constexpr std::string_view kProto = "+proto";
  if (!text.starts_with(kGrpc)) return false;
  text.remove_prefix(kGrpc.size());
  if (text.starts_with(kProto)) text.remove_prefix(kProto.size());
  return text.empty() || text.front() == ';';
}

}  // namespace servoir::grpc
