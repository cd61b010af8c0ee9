#include "tensor/dtype.h"

#include <array>

namespace servoir {
namespace {

struct TypeInfo {
  std::string_view name;
  std::uint32_t bytes;
};

// Indexed by the number of the DataType.
constexpr std::array<TypeInfo, 16> kTypes = {{
    {"unknown", 0},
    {"bool", 1},
    {"int8", 1},
    {"uint8", 1},
    {"int16", 2},
    {"uint16", 2},
    {"int32", 4},
    {"uint32", 4},
    {"int64", 8},
    {"uint64", 8},
    {"float16", 2},
    {"float32", 4},
    {"float64", 8},
    {"str", 0},
    {"bytes", 0},
    {"bfloat16", 2},
}};

struct Alias {
  std::string_view name;
  DataType type;
};
constexpr std::array<Alias, 4> kAliases = {{
    {"fp16", DataType::kFloat16},
    {"fp32", DataType::kFloat32},
    {"fp64", DataType::kFloat64},
    {"string", DataType::kString},
}};

// A DataType may hold any number (it may come from shared memory), so every look-up is bounded.
const TypeInfo& info(DataType type) {
  const auto index = static_cast<std::size_t>(type);
  return kTypes[index < kTypes.size() ? index : 0];
}

}  // namespace

std::uint32_t element_bytes(DataType type) { return info(type).bytes; }

bool is_known(std::uint64_t number) { return number >= 1 && number < kTypes.size(); }

std::string_view name_of(DataType type) { return info(type).name; }

std::optional<DataType> data_type_of(std::string_view name) {
  for (std::size_t i = 1; i < kTypes.size(); ++i) {
    if (kTypes[i].name == name) return static_cast<DataType>(i);
  }
  for (const Alias& alias : kAliases) {
    if (alias.name == name) return alias.type;
  }
  return std::nullopt;
}

}  // namespace servoir
