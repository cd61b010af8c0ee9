// HeaderList: the header fields of a request, in their order, in one string.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace servoir::http {

class HeaderList {
 public:
  void add(std::string_view name, std::string_view value) {
    const Sizes sizes{name.size(), value.size()};
    fields_.append(reinterpret_cast<const char*>(&sizes), sizeof(sizes)).append(name).append(value);
  }
  void clear() { fields_.clear(); }
  // The first value of this header, whatever the case of its name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const {
    Sizes sizes;
    for (std::string_view rest = fields_; !rest.empty(); rest.remove_prefix(sizes.name + sizes.value)) {
      std::memcpy(&sizes, rest.data(), sizeof(sizes));
      rest.remove_prefix(sizeof(sizes));
      if (sizes.name != name.size()) continue;
      if (std::equal(name.begin(), name.end(), rest.begin(), alike)) return rest.substr(sizes.name, sizes.value);
    }
    return std::nullopt;
  }

 private:
  struct Sizes {
    std::size_t name = 0;
    std::size_t value = 0;
  };
  static bool alike(char a, char b) { return lower(a) == lower(b); }
  static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

  // Of each field the sizes, the name and the value: requests are asked for several names, most of which no field has,
  // and a name of another size is passed over unread.
  std::string fields_;
};

}  // namespace servoir::http
