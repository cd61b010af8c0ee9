#include "protocol/json_writer.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

#include "protocol/base64.h"
#include "protocol/float_text.h"
#include "protocol/utf8.h"

namespace servoir {
namespace {

// A half as it lies in memory.
struct Float16 {
  std::uint16_t bits;
};

float widened(Float16 half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half.bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (half.bits >> 10U) & 0x1FU;
  const std::uint32_t fraction = half.bits & 0x3FFU;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign == 0 ? magnitude : -magnitude;
  }
  const std::uint32_t wide = exponent == 0x1F ? 0xFFU : exponent + 112U;
  return std::bit_cast<float>(sign | wide << 23U | fraction << 13U);
}

template <typename T>
char* print(T value, char* to, std::size_t room) {
  if constexpr (std::is_same_v<T, bool>) {
    const std::string_view text = value ? "true" : "false";
    std::memcpy(to, text.data(), text.size());
    return to + text.size();
  } else if constexpr (std::is_floating_point_v<T>) {
    if (std::isfinite(value)) return print_float(value, to);
    std::memcpy(to, "null", 4);
    return to + 4;
  } else {
    return std::to_chars(to, to + room, value).ptr;
  }
}

// Whether the character needs an escape in a JSON string.
constexpr std::array<bool, 256> kEscaped = [] {
  std::array<bool, 256> table{};
  for (std::size_t c = 0; c < 0x20; ++c) table[c] = true;
  table['"'] = true;
  table['\\'] = true;
  return table;
}();

}  // namespace

void JsonWriter::flush() {
  out_->append(std::string_view(buffer_.data(), used_));
  used_ = 0;
}

char* JsonWriter::room() {
  if (buffer_.size() - used_ < kSpare) flush();
  return buffer_.data() + used_;
}

void JsonWriter::raw(std::string_view text) {
  if (text.size() > buffer_.size() - used_) {
    flush();
    if (text.size() >= buffer_.size()) {
      out_->append(text);
      return;
    }
  }
  std::memcpy(buffer_.data() + used_, text.data(), text.size());
  used_ += text.size();
}

void JsonWriter::string(std::string_view text) {
  std::string replaced;
  if (!is_utf8(text)) {
    replaced = to_utf8(text);
    text = replaced;
  }
  raw("\"");
  while (!text.empty()) {
    const auto* const stop = std::ranges::find_if(text, [](char c) { return kEscaped[static_cast<unsigned char>(c)]; });
    const auto plain = static_cast<std::size_t>(stop - text.begin());
    raw(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    const char c = text.front();
    text.remove_prefix(1);
    switch (c) {
      case '"':
        raw("\\\"");
        break;
      case '\\':
        raw("\\\\");
        break;
      case '\n':
        raw("\\n");
        break;
      case '\r':
        raw("\\r");
        break;
      case '\t':
        raw("\\t");
        break;
      default: {
        constexpr std::string_view kHex = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(c);
        const std::array<char, 6> escape = {'\\', 'u', '0', '0', kHex[byte >> 4U], kHex[byte & 15U]};
        raw({escape.data(), escape.size()});
        break;
      }
    }
  }
  raw("\"");
}

template <typename T>
void JsonWriter::number(const std::byte* from) {
  char* const to = room();
  char* after = to;
  if constexpr (std::is_same_v<T, Float16>) {
    Float16 half;
    std::memcpy(&half, from, sizeof(half));
    after = print(widened(half), to, kSpare);
  } else if constexpr (std::is_same_v<T, bool>) {
    after = print(*from != std::byte{0}, to, kSpare);
  } else {
    T value;
    std::memcpy(&value, from, sizeof(T));
    after = print(value, to, kSpare);
  }
  used_ += static_cast<std::size_t>(after - to);
}

// The dimensions from `depth` on; returns where the next numbers lie.
template <typename T>
const std::byte* JsonWriter::array(const Shape& shape, std::uint32_t depth, const std::byte* from) {
  const std::int64_t count = shape.dims[depth];
  raw("[");
  if (depth + 1 < shape.rank) {
    for (std::int64_t i = 0; i < count; ++i) {
      if (i != 0) raw(",");
      from = array<T>(shape, depth + 1, from);
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i, from += sizeof(T)) {
      number<T>(from);
      buffer_[used_++] = ',';  // a number leaves room for it
    }
    if (count > 0) --used_;
  }
  raw("]");
  return from;
}

template <typename T>
void JsonWriter::numbers(const TensorRef& value) {
  const std::byte* const from = value.bytes == 0 ? nullptr : value.data();
  if (value.shape.rank == 0) {
    number<T>(from);
  } else {
    (void)array<T>(value.shape, 0, from);
  }
}

void JsonWriter::base64(const TensorRef& value) {
  raw("{\"b64\":\"");
  std::span<const std::byte> rest;
  if (value.bytes != 0) rest = {value.data(), static_cast<std::size_t>(value.bytes)};
  while (!rest.empty()) {
    // Whole triples until the last piece, so that padding comes at the end only.
    constexpr std::size_t kPiece = 3072;
    const auto piece = rest.first(std::min(rest.size(), kPiece));
    const auto text_bytes = static_cast<std::size_t>(base64_encoded_bytes(piece.size()));
    if (buffer_.size() - used_ < text_bytes) flush();
    base64_encode(piece, buffer_.data() + used_);
    used_ += text_bytes;
    rest = rest.subspan(piece.size());
  }
  raw("\"}");
}

void JsonWriter::tensor(const TensorRef& value) {
  // Shapes come from workers; one that does not fit its bytes must not lead beyond them.
  if (const auto bytes = value.shape.byte_size(value.dtype);
      !is_text(value.dtype) && !(bytes.ok() && *bytes == value.bytes)) {
    raw("null");
    return;
  }
  switch (value.dtype) {
    case DataType::kBool:
      numbers<bool>(value);
      break;
    case DataType::kInt8:
      numbers<std::int8_t>(value);
      break;
    case DataType::kUint8:
      numbers<std::uint8_t>(value);
      break;
    case DataType::kInt16:
      numbers<std::int16_t>(value);
      break;
    case DataType::kUint16:
      numbers<std::uint16_t>(value);
      break;
    case DataType::kInt32:
      numbers<std::int32_t>(value);
      break;
    case DataType::kUint32:
      numbers<std::uint32_t>(value);
      break;
    case DataType::kInt64:
      numbers<std::int64_t>(value);
      break;
    case DataType::kUint64:
      numbers<std::uint64_t>(value);
      break;
    case DataType::kFloat16:
      numbers<Float16>(value);
      break;
    case DataType::kFloat32:
      numbers<float>(value);
      break;
    case DataType::kFloat64:
      numbers<double>(value);
      break;
    case DataType::kString:
      string(value.bytes == 0 ? std::string_view()
                              : std::string_view(reinterpret_cast<const char*>(value.data()), value.bytes));
      break;
    case DataType::kBytes:
      base64(value);
      break;
    case DataType::kUnknown:
      raw("null");
      break;
  }
}

}  // namespace servoir
