// The numbers that mindspore.serving.proto.DataType has for element types, and their names in REST. Pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace servoir::seed {

// The types by their numbers, from 1 on.
inline constexpr std::array kTypes = {
    DataType::kBool,    DataType::kInt8,    DataType::kUint8,  DataType::kInt16,  DataType::kUint16,
    DataType::kInt32,   DataType::kUint32,  DataType::kInt64,  DataType::kUint64, DataType::kFloat16,
    DataType::kFloat32, DataType::kFloat64, DataType::kString, DataType::kBytes,
};
// And their numbers by the types, 0 where the protocol has no such type.
inline constexpr std::array<std::uint8_t, 256> kNumbers = [] {
  std::array<std::uint8_t, 256> numbers{};
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    numbers[static_cast<std::size_t>(kTypes[i])] = static_cast<std::uint8_t>(i + 1);
  }
  return numbers;
}();

// Nothing for 0 (MS_UNKNOWN) and for what is no number of a type.
[[nodiscard]] constexpr std::optional<DataType> type_of_number(std::uint64_t number) {
  if (number == 0 || number > kTypes.size()) return std::nullopt;
  return kTypes[static_cast<std::size_t>(number - 1)];
}
// 0 where the protocol has no such type.
[[nodiscard]] constexpr std::uint64_t number_of_type(DataType type) { return kNumbers[static_cast<std::size_t>(type)]; }

// "type" of a base64 object in REST: int8 … float64, fp16, fp32, fp64, bool, str, bytes.
[[nodiscard]] std::optional<DataType> type_of_name(std::string_view name);

}  // namespace servoir::seed
