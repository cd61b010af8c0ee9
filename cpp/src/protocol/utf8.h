// UTF-8: strings of tensors are checked, error texts are repaired. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

namespace servoir {

[[nodiscard]] bool is_utf8(std::string_view text);
// The text with every byte that is not part of a valid sequence replaced by U+FFFD.
[[nodiscard]] std::string to_utf8(std::string_view text);

}  // namespace servoir
