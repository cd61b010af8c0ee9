#include "protocol/base64.h"

#include <array>
#include <cstdio>
#include <string>

namespace servoir {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint32_t kIllegal = 0x80000000U;

// Two characters for every 12 bits.
struct EncodeTable {
  std::array<std::array<char, 2>, 4096> pairs{};
  constexpr EncodeTable() {
    for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = {kAlphabet[i >> 6U], kAlphabet[i & 63U]};
  }
};
constexpr EncodeTable kEncode;

// For each of the four places in a quartet: the character's 6 bits where they belong, or kIllegal.
struct DecodeTable {
  std::array<std::array<std::uint32_t, 256>, 4> place{};
  constexpr DecodeTable() {
    for (auto& table : place) {
      for (auto& entry : table) entry = kIllegal;
    }
    for (std::uint32_t i = 0; i < kAlphabet.size(); ++i) {
      const auto c = static_cast<unsigned char>(kAlphabet[i]);
      for (std::uint32_t p = 0; p < 4; ++p) place[p][c] = i << (18U - 6U * p);
    }
  }
};
constexpr DecodeTable kDecode;

std::uint32_t quartet(const unsigned char* text) {
  return kDecode.place[0][text[0]] | kDecode.place[1][text[1]] | kDecode.place[2][text[2]] | kDecode.place[3][text[3]];
}

std::size_t padding_of(std::string_view text) {
  if (text.empty() || text.back() != '=') return 0;
  return text[text.size() - 2] == '=' ? 2 : 1;
}

Status illegal_character(std::string_view text, std::size_t from) {
  std::size_t at = from;
  while (at < text.size() && kDecode.place[0][static_cast<unsigned char>(text[at])] != kIllegal) ++at;
  const auto c = static_cast<unsigned char>(text[at]);
  std::array<char, 8> shown{};
  if (c > 0x20 && c < 0x7F) {
    std::snprintf(shown.data(), shown.size(), "'%c'", c);
  } else {
    std::snprintf(shown.data(), shown.size(), "0x%02X", c);
  }
  std::string message = "base64 text has the illegal character ";
  message += shown.data();
  message += " at position " + std::to_string(at) + "; legal are A-Z a-z 0-9 + / and at most two = at the end";
  return Status::InvalidArgument(std::move(message));
}

}  // namespace

void base64_encode(std::span<const std::byte> bytes, char* out) {
  const auto* in = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  const auto put = [&out](std::uint32_t twelve_bits) {
    *out++ = kEncode.pairs[twelve_bits][0];
    *out++ = kEncode.pairs[twelve_bits][1];
  };
  for (; left >= 3; left -= 3, in += 3) {
    const std::uint32_t bits =
        static_cast<std::uint32_t>(in[0]) << 16U | static_cast<std::uint32_t>(in[1]) << 8U | in[2];
    put(bits >> 12U);
    put(bits & 0xFFFU);
  }
  if (left == 1) {
    put(static_cast<std::uint32_t>(in[0]) << 4U);
    *out++ = '=';
    *out++ = '=';
  } else if (left == 2) {
    const std::uint32_t bits = static_cast<std::uint32_t>(in[0]) << 16U | static_cast<std::uint32_t>(in[1]) << 8U;
    put(bits >> 12U);
    *out++ = kAlphabet[(bits >> 6U) & 63U];
    *out++ = '=';
  }
}

Result<std::uint64_t> base64_decoded_bytes(std::string_view text) {
  if (text.size() % 4 != 0) {
    return Status::InvalidArgument("base64 text has " + std::to_string(text.size()) +
                                   " characters; expected a multiple of 4 (padded with =)");
  }
  return static_cast<std::uint64_t>(text.size() / 4 * 3 - padding_of(text));
}

Status base64_decode(std::string_view text, std::byte* out) {
  SERVOIR_ASSIGN_OR_RETURN([[maybe_unused]] const std::uint64_t bytes, base64_decoded_bytes(text));
  const std::size_t padding = padding_of(text);
  const auto* in = reinterpret_cast<const unsigned char*>(text.data());
  const std::size_t full = text.size() / 4 - (padding != 0 ? 1 : 0);
  for (std::size_t i = 0; i < full; ++i, in += 4, out += 3) {
    const std::uint32_t bits = quartet(in);
    if ((bits & kIllegal) != 0) return illegal_character(text, i * 4);
    out[0] = static_cast<std::byte>(bits >> 16U);
    out[1] = static_cast<std::byte>(bits >> 8U);
    out[2] = static_cast<std::byte>(bits);
  }
  if (padding != 0) {
    const std::array<unsigned char, 4> last = {in[0], in[1], padding == 2 ? static_cast<unsigned char>('A') : in[2],
                                               'A'};
    const std::uint32_t bits = quartet(last.data());
    if ((bits & kIllegal) != 0) return illegal_character(text, full * 4);
    out[0] = static_cast<std::byte>(bits >> 16U);
    if (padding == 1) out[1] = static_cast<std::byte>(bits >> 8U);
  }
  return {};
}

}  // namespace servoir
