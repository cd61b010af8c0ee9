// JsonWriter: JSON text at the end of a Payload, through a small buffer.
//
// The caller writes the punctuation between values. Belongs to one thread; the text is complete once flush() was
// called.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "memory/payload.h"
#include "memory/tensor_ref.h"
#include "tensor/text_array.h"

namespace servoir {

class JsonWriter {
 public:
  // Whether `out` may have so many bytes.
  using Room = std::function<bool(std::uint64_t bytes)>;

  // Stops inside of a tensor once about `most` bytes are in `out`, or it has no room: what was written is then of no
  // use.
  explicit JsonWriter(Payload* out, std::uint64_t most = UINT64_MAX, const Room& room = {})
      : out_(out), most_(most), has_room_(room) {}
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  void raw(std::string_view text);
  // Writes the text quoted and escaped; bytes that are not UTF-8 become U+FFFD.
  void string(std::string_view text);
  // Writes a bare value, or nested arrays by the shape. Floats always have a fraction or an exponent, NaN and infinity
  // are null, bytes are {"b64": …}.
  void tensor(const TensorRef& value);
  void flush();
  // Whether it has stopped.
  [[nodiscard]] bool full() const { return full_; }

 private:
  template <typename T>
  void numbers(const TensorRef& value);
  template <typename T>
  const std::byte* array(const Shape& shape, std::uint32_t depth, const std::byte* from);
  template <typename T>
  void number(const std::byte* from);
  void texts(const TensorRef& value);
  void text_array(DataType dtype, const Shape& shape, std::uint32_t depth, TextReader* texts);
  void text(DataType dtype, std::string_view value);
  void base64(std::span<const std::byte> rest);
  // Where the next kSpare bytes go.
  char* room();

  // More than a number (kFloatChars at most) and its comma take.
  static constexpr std::size_t kSpare = 64;

  Payload* out_;
  const std::uint64_t most_;
  const Room has_room_;
  bool full_ = false;
  std::size_t used_ = 0;
  std::array<char, 16384> buffer_;
};

}  // namespace servoir
