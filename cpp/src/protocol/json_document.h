// JsonDocument: a JSON text, checked and taken apart by simdjson.
//
// Small texts share the parser of their thread, so parsing a text makes an earlier document of the same thread invalid.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <optional>
#include <string_view>

#include "base/status.h"

namespace servoir {

// Bytes that must be readable after the text (their value does not matter).
inline constexpr std::size_t kJsonPadding = 64;

class JsonDocument {
 public:
  // InvalidArgument if the text is not JSON. `expected` says what should have come, for the error about an empty text.
  // `take_nonfinite`: NaN and infinities are taken, see protocol/json_nonfinite.h; otherwise the error has their place.
  [[nodiscard]] Status parse(std::string_view text, std::string_view expected, bool take_nonfinite = false);
  [[nodiscard]] simdjson::dom::element root() const { return root_; }
  [[nodiscard]] std::size_t text_bytes() const { return text_bytes_; }
  // Whether the text has NaN or infinities, for which there are now objects.
  [[nodiscard]] bool has_nonfinite() const { return has_nonfinite_; }

 private:
  std::optional<simdjson::dom::parser> large_;
  simdjson::dom::element root_;
  std::size_t text_bytes_ = 0;
  bool has_nonfinite_ = false;
};

// "an array", "an integer", …
[[nodiscard]] const char* json_kind(simdjson::dom::element_type type);
// The exact number of its elements; array::size() stops counting at some number.
[[nodiscard]] std::size_t json_size(const simdjson::dom::array& array);

}  // namespace servoir
