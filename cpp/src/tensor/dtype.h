// DataType: the element types that exist on the wire, in the arena and in functions.
//
// The numbers are this server's own, and part of what it and its workers agree on. Each protocol has its own table from
// its names or numbers to them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace servoir {

enum class DataType : std::uint8_t {
  kUnknown = 0,
  kBool = 1,
  kInt8 = 2,
  kUint8 = 3,
  kInt16 = 4,
  kUint16 = 5,
  kInt32 = 6,
  kUint32 = 7,
  kInt64 = 8,
  kUint64 = 9,
  kFloat16 = 10,
  kFloat32 = 11,
  kFloat64 = 12,
  kString = 13,  // UTF-8; each element has a length of its own (tensor/text_array.h)
  kBytes = 14,   // each element has a length of its own
  kBfloat16 = 15,
};

// Bytes of one element; 0 for kString and kBytes, whose elements have any length, and for kUnknown.
[[nodiscard]] std::uint32_t element_bytes(DataType type);
// Whether the number is a DataType other than kUnknown.
[[nodiscard]] bool is_known(std::uint64_t number);
// Whether the type is kString or kBytes.
[[nodiscard]] inline bool is_text(DataType type) { return type == DataType::kString || type == DataType::kBytes; }
// "float32", "int8", "bool", "str", "bytes", … (the names that NumPy and REST use)
[[nodiscard]] std::string_view name_of(DataType type);
// Inverse of name_of; also fp16, fp32, fp64, string.
[[nodiscard]] std::optional<DataType> data_type_of(std::string_view name);

}  // namespace servoir
