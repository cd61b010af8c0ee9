// The numbers of OpenVINO's element types, which differ between its releases.
//
// Up to 2025.0 the enumeration starts UNDEFINED, DYNAMIC, BOOLEAN, ...; since 2025.1 the first two are the same value,
// and every type's number is one less. The right table is chosen by the runtime's version and verified by Api::open
// with the size of a tensor of each type, so that a further change is noticed instead of serving wrong values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace servoir::openvino {

struct ElementType {
  std::uint32_t dtype;     // SERVOIR_...
  std::uint32_t openvino;  // ov_element_type_e of the running release
  std::uint32_t bytes;
};

struct ElementTypes {
  std::array<ElementType, 13> types;
  std::uint32_t text;  // OpenVINO's number of a type that cannot be served

  // Null for types that cannot be served.
  [[nodiscard]] const ElementType* of_openvino(std::uint32_t number) const;
  [[nodiscard]] const ElementType* of_dtype(std::uint32_t dtype) const;
};

// "2026.4.1-22982-e213a147257-releases/2026/4" -> the table; null if the text starts with no version, or with a version
// older than 2024.
[[nodiscard]] const ElementTypes* element_types_of(std::string_view version);

}  // namespace servoir::openvino
