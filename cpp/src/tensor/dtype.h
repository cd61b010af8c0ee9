// DataType: the element types that exist on the wire, in the arena and in functions.
//
// The numbers are those of the public gRPC contract (mindspore.serving.proto.DataType), so no table stands between the
// wire and the arena.
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
  kString = 13,  // UTF-8, one value a tensor, any length
  kBytes = 14,   // one value a tensor, any length
};

// Bytes of one element; 0 for kString, kBytes (their length is the value's own) and kUnknown.
[[nodiscard]] std::uint32_t element_bytes(DataType type);
// Whether the number is a DataType other than kUnknown.
[[nodiscard]] bool is_known(std::uint64_t number);
// kString and kBytes: one value of any length.
[[nodiscard]] inline bool is_text(DataType type) { return type == DataType::kString || type == DataType::kBytes; }
// "float32", "int8", "bool", "str", "bytes", … (numpy's names; the REST contract's names)
[[nodiscard]] std::string_view name_of(DataType type);
// Inverse of name_of; also fp16, fp32, fp64, string.
[[nodiscard]] std::optional<DataType> data_type_of(std::string_view name);

}  // namespace servoir
