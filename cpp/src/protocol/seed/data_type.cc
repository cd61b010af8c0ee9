#include "protocol/seed/data_type.h"

namespace servoir::seed {

std::optional<DataType> type_of_name(std::string_view name) {
  const auto type = data_type_of(name);
  if (!type || name == "string" || number_of_type(*type) == 0) return std::nullopt;
  return type;
}

}  // namespace servoir::seed
