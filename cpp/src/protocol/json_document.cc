#include "protocol/json_document.h"

#include <string>

#include "protocol/json_large_integers.h"
#include "protocol/json_nonfinite.h"

namespace servoir {
namespace {

namespace dom = simdjson::dom;
using Type = dom::element_type;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

// A parser keeps about ten times the size of its largest text as (mostly untouched) memory; a parser of a larger text
// is not kept.
constexpr std::size_t kKeptTextBytes = 4U << 20U;
// What array::size() returns for larger arrays.
constexpr std::size_t kSaturatedSize = 0xFFFFFF;

}  // namespace

Status JsonDocument::parse(std::string_view text, std::string_view expected, bool take_nonfinite) {
  text_bytes_ = text.size();
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return Status::InvalidArgument("the body is empty; expected " + std::string(expected));
  }
  // A byte order mark, which editors and PowerShell put before UTF-8, may be passed over (RFC 8259, section 8.1).
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  static thread_local dom::parser kept;
  dom::parser& parser = text.size() > kKeptTextBytes ? large_.emplace() : kept;
  auto error = parser.parse(text.data(), text.size(), false).get(root_);
  if (error == simdjson::TAPE_ERROR || error == simdjson::NUMBER_ERROR) {
    if (const std::string place = first_nonfinite(text); !place.empty()) {
      if (!take_nonfinite) {
        return Status::InvalidArgument("the body is not JSON: it has " + place +
                                       "; send it in base64, or start the server with SERVOIR_JSON_NAN=1, which takes "
                                       "NaN, Infinity and -Infinity for floats");
      }
      has_nonfinite_ = true;
    }
    if (has_nonfinite_ || has_large_integers(text)) {
      std::string replaced(text);
      if (has_nonfinite_) replace_nonfinite(&replaced);
      make_large_integers_floats(&replaced);
      replaced.append(kJsonPadding, ' ');
      error = parser.parse(replaced.data(), text.size(), false).get(root_);
    }
  }
  if (error == simdjson::NUMBER_ERROR) {  // simdjson does not tell which of these it is
    return Status::InvalidArgument(
        "the body is not JSON that can be read: it has a number that is malformed, an integer beyond 64 bits, or a "
        "number beyond float64");
  }
  if (error != simdjson::SUCCESS) {
    return Status::InvalidArgument(std::string("the body is not JSON: ") + simdjson::error_message(error));
  }
  return {};
}

const char* json_kind(Type type) {
  switch (type) {
    case Type::ARRAY:
      return "an array";
    case Type::OBJECT:
      return "an object";
    case Type::INT64:
    case Type::UINT64:
      return "an integer";
    case Type::DOUBLE:
      return "a number with a fraction or exponent";
    case Type::STRING:
      return "a string";
    case Type::BOOL:
      return "a bool";
    default:
      return "null";
  }
}

std::size_t json_size(const dom::array& array) {
  const std::size_t size = array.size();
  if (size < kSaturatedSize) return size;
  std::size_t counted = 0;
  for ([[maybe_unused]] const dom::element element : array) ++counted;
  return counted;
}

}  // namespace servoir
