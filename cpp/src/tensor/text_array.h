// How values of str and bytes lie in memory.
//
//   value of rank 0 := bytes                               those of the value, and nothing else
//   other value     := element*                            in C order, as many as the shape has
//   element         := u32 length, little-endian; bytes
//
// Each length stands before its element, and not in a table ahead of all of them. So an array can be written while it
// comes in, the arrays of several rows after one another are the array of all these rows, and a row of an array is a
// part of its bytes. Open Inference Protocol sends the same bytes. No user of such arrays needs an element without the
// elements before it.
//
// Pure functions. The bytes may lie in memory that another process writes to, so a reader stays within them, whatever
// lengths they announce.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "tensor/shape.h"

namespace servoir {

static_assert(std::endian::native == std::endian::little);

// Of an element: what stands before its bytes, and how many bytes it may have.
inline constexpr std::uint64_t kTextHeadBytes = sizeof(std::uint32_t);
inline constexpr std::uint64_t kMaxTextBytes = UINT32_MAX;

// Walks the elements of an array.
class TextReader {
 public:
  explicit TextReader(std::span<const std::byte> array) : rest_(array) {}

  // False at the end, and where no whole element is left: at_end() tells.
  [[nodiscard]] bool next(std::string_view* element) {
    std::uint32_t length = 0;
    if (rest_.size() < sizeof(length)) return false;
    std::memcpy(&length, rest_.data(), sizeof(length));
    if (length > rest_.size() - sizeof(length)) return false;
    *element = {reinterpret_cast<const char*>(rest_.data()) + sizeof(length), length};
    rest_ = rest_.subspan(sizeof(length) + length);
    return true;
  }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  // What was not read yet.
  [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }

 private:
  std::span<const std::byte> rest_;
};

// Writes an element of at most kMaxTextBytes; returns where the next one goes.
inline std::byte* put_text(std::string_view element, std::byte* to) {
  const auto length = static_cast<std::uint32_t>(element.size());
  std::memcpy(to, &length, sizeof(length));
  if (length != 0) std::memcpy(to + sizeof(length), element.data(), length);
  return to + sizeof(length) + length;
}

// Likewise, at the end of a string.
inline void append_text(std::string_view element, std::string* to) {
  const auto length = static_cast<std::uint32_t>(element.size());
  to->append(reinterpret_cast<const char*>(&length), sizeof(length));
  to->append(element);
}

// Whether so many bytes can be a value of this shape, as far as their number tells.
[[nodiscard]] bool may_be_texts(const Shape& shape, std::uint64_t bytes);
// Whether the bytes are a value of this shape: InvalidArgument says which element is not whole, or what is too much.
[[nodiscard]] Status check_texts(const Shape& shape, std::span<const std::byte> bytes);

}  // namespace servoir
