// NaN, Infinity and -Infinity in a text that is JSON otherwise, as Python's json and some JavaScript libraries write
// them.
//
// The parser takes none of them. So each is replaced by an object that is no value of anything, of the same length:
// NaN by `{} `, Infinity by `{"":{}} ` and -Infinity by `{"":[]}  `. Pure functions.
#pragma once

#include <simdjson.h>

#include <optional>
#include <string>
#include <string_view>

namespace servoir {

// The place of the first, such as "NaN at instances[0].x[1]"; empty where there is none.
[[nodiscard]] std::string first_nonfinite(std::string_view text);
// Replaces all of them in the text.
void replace_nonfinite(std::string* text);

// Of a text in which they were replaced: the number, if the element is one of them.
[[nodiscard]] std::optional<double> nonfinite_of(simdjson::dom::element element);
// "NaN", "Infinity" or "-Infinity".
[[nodiscard]] std::string_view name_of_nonfinite(double value);

}  // namespace servoir
