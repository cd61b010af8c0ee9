// What error messages are made of. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace servoir {

// The text in single quotes: 'TEXT'.
[[nodiscard]] std::string quoted(std::string_view text);
// The beginning of UTF-8 text: at most `most` bytes, ending at the end of a character.
[[nodiscard]] std::string_view cut_utf8(std::string_view text, std::size_t most);
// The end of UTF-8 text: at most `most` bytes, beginning at the start of a character.
[[nodiscard]] std::string_view cut_utf8_front(std::string_view text, std::size_t most);

}  // namespace servoir
