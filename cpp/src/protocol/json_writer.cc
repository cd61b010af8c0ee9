#include "protocol/json_writer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>

#include "protocol/base64.h"
#include "protocol/float_text.h"
#include "protocol/utf8.h"
#include "tensor/half.h"

namespace servoir {
namespace {

// The floats of 16 bits are printed as the floats of 32 bits that they are.
struct Float16 {
  static float widened(std::uint16_t bits) { return from_float16(bits); }
};
struct Bfloat16 {
  static float widened(std::uint16_t bits) { return from_bfloat16(bits); }
};
template <typename T>
constexpr bool kIsHalf = std::is_same_v<T, Float16> || std::is_same_v<T, Bfloat16>;

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
  if (!full_) out_->append(std::string_view(buffer_.data(), used_));  // else a loop only comes to its end
  used_ = 0;
  full_ = full_ || out_->size() > most_ || (has_room_ && !has_room_(out_->size()));
}

char* JsonWriter::room() {
  if (buffer_.size() - used_ < kSpare) flush();
  return buffer_.data() + used_;
}

void JsonWriter::raw(std::string_view text) {
  if (text.size() > buffer_.size() - used_) {
    flush();
    if (text.size() >= buffer_.size()) {
      if (!full_) out_->append(text);
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
  if constexpr (kIsHalf<T>) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, from, sizeof(bits));
    after = print(T::widened(bits), to, kSpare);
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
    for (std::int64_t i = 0; i < count && !full_; ++i) {
      if (i != 0) raw(",");
      from = array<T>(shape, depth + 1, from);
    }
  } else {
    constexpr std::size_t kBytes = kIsHalf<T> ? sizeof(std::uint16_t) : sizeof(T);
    for (std::int64_t i = 0; i < count; ++i, from += kBytes) {
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

void JsonWriter::text(DataType dtype, std::string_view value) {
  if (dtype == DataType::kString) {
    string(value);
  } else {
    base64(std::as_bytes(std::span(value)));
  }
}

// The dimensions from `depth` on. An element that is not whole is null, as is what comes after it.
void JsonWriter::text_array(DataType dtype, const Shape& shape, std::uint32_t depth, TextReader* texts) {
  raw("[");
  for (std::int64_t i = 0; i < shape.dims[depth] && !full_; ++i) {
    if (i != 0) raw(",");
    std::string_view element;
    if (depth + 1 < shape.rank) {
      text_array(dtype, shape, depth + 1, texts);
    } else if (texts->next(&element)) {
      text(dtype, element);
    } else {
      raw("null");
    }
  }
  raw("]");
}

void JsonWriter::texts(const TensorRef& value) {
  std::span<const std::byte> bytes;
  if (value.bytes != 0) bytes = {value.data(), static_cast<std::size_t>(value.bytes)};
  if (value.shape.rank == 0) return text(value.dtype, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  TextReader reader(bytes);
  text_array(value.dtype, value.shape, 0, &reader);
}

void JsonWriter::base64(std::span<const std::byte> rest) {
  raw("{\"b64\":\"");
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
  // Shapes come from workers. A shape that does not fit its bytes must not make this read beyond them.
  if (const auto bytes = value.shape.byte_size(value.dtype);
      is_text(value.dtype) ? !may_be_texts(value.shape, value.bytes) : !(bytes.ok() && *bytes == value.bytes)) {
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
    case DataType::kBfloat16:
      numbers<Bfloat16>(value);
      break;
    case DataType::kFloat32:
      numbers<float>(value);
      break;
    case DataType::kFloat64:
      numbers<double>(value);
      break;
    case DataType::kString:
    case DataType::kBytes:
      texts(value);
      break;
    case DataType::kUnknown:
      raw("null");
      break;
  }
}

}  // namespace servoir
