#include "element_types.h"

#include <charconv>

#include "servoir/backend.h"

namespace servoir::openvino {
namespace {

constexpr ElementTypes table(std::uint32_t boolean) {
  return {{{{SERVOIR_BOOL, boolean, 1},
            {SERVOIR_FLOAT16, boolean + 2, 2},
            {SERVOIR_FLOAT32, boolean + 3, 4},
            {SERVOIR_FLOAT64, boolean + 4, 8},
            {SERVOIR_INT8, boolean + 6, 1},
            {SERVOIR_INT16, boolean + 7, 2},
            {SERVOIR_INT32, boolean + 8, 4},
            {SERVOIR_INT64, boolean + 9, 8},
            {SERVOIR_UINT8, boolean + 15, 1},
            {SERVOIR_UINT16, boolean + 16, 2},
            {SERVOIR_UINT32, boolean + 17, 4},
            {SERVOIR_UINT64, boolean + 18, 8},
            {SERVOIR_BFLOAT16, boolean + 1, 2}}},
          boolean + 22};
}

constexpr ElementTypes kWithUndefined = table(2);
constexpr ElementTypes kWithoutUndefined = table(1);

}  // namespace

const ElementType* ElementTypes::of_openvino(std::uint32_t number) const {
  for (const ElementType& type : types) {
    if (type.openvino == number) return &type;
  }
  return nullptr;
}

const ElementType* ElementTypes::of_dtype(std::uint32_t dtype) const {
  for (const ElementType& type : types) {
    if (type.dtype == dtype) return &type;
  }
  return nullptr;
}

const ElementTypes* element_types_of(std::string_view version) {
  unsigned year = 0;
  unsigned minor = 0;
  const char* end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), end, year);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return nullptr;
  if (std::from_chars(first.ptr + 1, end, minor).ec != std::errc() || year < 2024) return nullptr;
  return year < 2025 || (year == 2025 && minor == 0) ? &kWithUndefined : &kWithoutUndefined;
}

}  // namespace servoir::openvino
