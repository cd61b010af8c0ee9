#include "protocol/json_large_integers.h"

#include <algorithm>
#include <cstddef>
#include <functional>

namespace servoir {
namespace {

constexpr std::string_view kNumber = "+-.0123456789Ee";
constexpr std::string_view kLargest = "18446744073709551615";
constexpr std::string_view kLowest = "9223372036854775808";  // without its sign

// `token`: a number, or what looks like one.
bool is_large(std::string_view token) {
  const bool negative = token.starts_with('-');
  const std::string_view digits = token.substr(negative ? 1 : 0);
  const std::string_view most = negative ? kLowest : kLargest;
  if (digits.size() < most.size() || digits.find_first_not_of("0123456789") != std::string_view::npos) return false;
  return digits.front() != '0' && digits.ends_with("00") && (digits.size() > most.size() || digits > most);
}

// Calls `found` with the end of each such integer outside of strings, until it returns false.
void scan(std::string_view text, const std::function<bool(std::size_t)>& found) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '\\') ++at;
      }
      ++at;
      continue;
    }
    const std::size_t end = std::min(text.find_first_not_of(kNumber, at), text.size());
    if (is_large(text.substr(at, end - at)) && !found(end)) return;
    at = std::max(end, at + 1);
  }
}

}  // namespace

bool has_large_integers(std::string_view text) {
  bool any = false;
  scan(text, [&any](std::size_t /*end*/) {
    any = true;
    return false;
  });
  return any;
}

void make_large_integers_floats(std::string* text) {
  scan(*text, [text](std::size_t end) {
    text->replace(end - 2, 2, "e2");
    return true;
  });
}

}  // namespace servoir
