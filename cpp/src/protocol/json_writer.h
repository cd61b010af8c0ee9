// JsonWriter: JSON text at the end of a Payload, through a small buffer.
//
// The caller puts the punctuation. Belongs to one thread; the text is complete once flush() was called.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "memory/payload.h"
#include "memory/tensor_ref.h"

namespace servoir {

class JsonWriter {
 public:
  explicit JsonWriter(Payload* out) : out_(out) {}
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  void raw(std::string_view text);
  // Quoted and escaped; what is not UTF-8 in it becomes U+FFFD.
  void string(std::string_view text);
  // Numbers as a bare value or nested arrays by the shape, floats always with a fraction or an exponent, NaN and
  // infinity as null; bytes as {"b64": …}.
  void tensor(const TensorRef& value);
  void flush();

 private:
  template <typename T>
  void numbers(const TensorRef& value);
  template <typename T>
  const std::byte* array(const Shape& shape, std::uint32_t depth, const std::byte* from);
  template <typename T>
  void number(const std::byte* from);
  void base64(const TensorRef& value);
  // Where the next kSpare bytes go.
  char* room();

  // More than a number (kFloatChars at most) and its comma take.
  static constexpr std::size_t kSpare = 64;

  Payload* out_;
  std::size_t used_ = 0;
  std::array<char, 16384> buffer_;
};

}  // namespace servoir
