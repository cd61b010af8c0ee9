#include "protocol/json_nonfinite.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <vector>

#include "base/text.h"

namespace servoir {
namespace {

namespace dom = simdjson::dom;

struct Token {
  std::string_view name;
  std::string_view placeholder;
};
constexpr std::array<Token, 3> kTokens = {{{"NaN", "{} "}, {"Infinity", "{\"\":{}} "}, {"-Infinity", "{\"\":[]}  "}}};
// Deeper texts are no JSON that the parser takes.
constexpr std::size_t kMostLevels = simdjson::DEFAULT_MAX_DEPTH;
constexpr std::size_t kShownKeyBytes = 64;

// Where the scanner is: in which element of an array, or after which key of an object.
struct Level {
  bool is_array = false;
  std::size_t index = 0;
  std::string_view key;
};

std::string path_of(const std::vector<Level>& levels) {
  std::string path;
  for (const Level& level : levels) {
    if (level.is_array) {
      path += '[';
      path += std::to_string(level.index);
      path += ']';
    } else {
      if (!path.empty()) path += ".";
      path += cut_utf8(level.key, kShownKeyBytes);
    }
  }
  return path.empty() ? "the beginning" : path;
}

// The position of the quote that ends the string which begins at `at`, or of the text's end.
std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(at, text.size());
}

// Calls `found` for each token outside of strings, with its position, until it returns false.
void scan(std::string_view text,
          const std::function<bool(const Token&, std::size_t, const std::vector<Level>&)>& found) {
  std::vector<Level> levels;
  std::string_view last_string;
  for (std::size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"': {
        const std::size_t end = string_end(text, at);
        last_string = text.substr(at + 1, end - at - 1);
        at = end;
        break;
      }
      case ':':
        if (!levels.empty()) levels.back().key = last_string;
        break;
      case '[':
      case '{':
        if (levels.size() == kMostLevels) return;
        levels.push_back({text[at] == '[', 0, {}});
        break;
      case ']':
      case '}':
        if (levels.empty()) return;
        levels.pop_back();
        break;
      case ',':
        if (!levels.empty()) ++levels.back().index;
        break;
      case 'N':
      case 'I':
      case '-':
        for (const Token& token : kTokens) {
          if (!text.substr(at).starts_with(token.name)) continue;
          if (!found(token, at, levels)) return;
          at += token.name.size() - 1;
          break;
        }
        break;
      default:
        break;
    }
  }
}

}  // namespace

std::string first_nonfinite(std::string_view text) {
  std::string place;
  scan(text, [&](const Token& token, std::size_t /*at*/, const std::vector<Level>& levels) {
    place = std::string(token.name) + " at " + path_of(levels);
    return false;
  });
  return place;
}

void replace_nonfinite(std::string* text) {
  scan(*text, [&](const Token& token, std::size_t at, const std::vector<Level>& /*levels*/) {
    text->replace(at, token.placeholder.size(), token.placeholder);
    return true;
  });
}

std::optional<double> nonfinite_of(dom::element element) {
  dom::object object;
  if (element.get(object) != simdjson::SUCCESS) return std::nullopt;
  if (object.size() == 0) return std::numeric_limits<double>::quiet_NaN();
  const dom::key_value_pair field = *object.begin();
  if (object.size() != 1 || !field.key.empty()) return std::nullopt;
  if (field.value.is_object()) return std::numeric_limits<double>::infinity();
  if (field.value.is_array()) return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

std::string_view name_of_nonfinite(double value) {
  if (std::isnan(value)) return kTokens[0].name;
  return value > 0 ? kTokens[1].name : kTokens[2].name;
}

}  // namespace servoir
