// Integers beyond 64 bits, as JavaScript and Go write floats from 2^64 up to 1e21: with all their digits, of which the
// last ones are 0.
//
// The parser takes none of them. So the last two zeros of each become an exponent: the text is as long as before, and
// the number the same, but a float. Others, which no float has been written as, stay as they are. Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace servoir {

[[nodiscard]] bool has_large_integers(std::string_view text);
void make_large_integers_floats(std::string* text);

}  // namespace servoir
