// The path of a REST request.
//
//   path   := prefix "/model/" name ["/version/" number] ":" method
//           | prefix "/version/" number "/model/" name ":" method
//
// The method is all that follows the first colon after "/model/": a query string or a further path belongs to it (and
// no method has such a name). Names may be percent-encoded, and where there is no colon at all, the colon, too:
// programs encode the name and the method as one part of the path.

#include "protocol/seed/rest_target.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace servoir::seed {
namespace {

constexpr std::string_view kModel = "/model/";
constexpr std::string_view kVersion = "/version/";
constexpr std::uint64_t kVersionLimit = 0xFFFFFFFFULL;  // every version is less than this

Status bad_path(std::string_view path, std::string_view why, Code code = Code::kInvalidArgument) {
  std::string text = "the path '" + std::string(path) + "' ";
  text += why;
  text += "; expected ";
  text += kRestPathForm;
  return {code, std::move(text)};
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const char* const hex = text.data() + i + 1;
    if (text.size() - i < 3 || std::from_chars(hex, hex + 2, value, 16).ptr != hex + 2) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

}  // namespace

Result<RestTarget> parse_rest_target(std::string_view path) {
  const std::size_t model_at = path.find(kModel);
  // The path belongs to no route of ours, so this is 404 rather than 400.
  if (model_at == std::string_view::npos) return bad_path(path, "names no model", Code::kNotFound);
  const std::string_view prefix = path.substr(0, model_at);
  const std::string_view rest = path.substr(model_at + kModel.size());
  std::size_t colon = rest.find(':');
  std::size_t colon_bytes = 1;
  if (colon == std::string_view::npos) {
    colon = std::min(rest.find("%3A"), rest.find("%3a"));
    colon_bytes = 3;
  }
  if (colon == std::string_view::npos) return bad_path(path, "names no method (no ':METHOD')");
  std::string_view name = rest.substr(0, colon);
  const std::string_view method = rest.substr(colon + colon_bytes);
  if (method.empty()) return bad_path(path, "names no method (nothing follows the ':')");

  std::optional<std::string_view> version;
  if (const std::size_t at = prefix.find(kVersion); at != std::string_view::npos) {
    version = prefix.substr(at + kVersion.size());
  }
  // "/model//version/1:m" has an empty name, so the slash before "version" may be the one after "model".
  if (const std::size_t at = rest.substr(0, colon).find(kVersion); at != std::string_view::npos) {
    if (version) return bad_path(path, "names two versions");
    version = name.substr(at + kVersion.size());
    name = name.substr(0, at);
  }
  if (name.empty()) return bad_path(path, "names no model (nothing follows '/model/')");
  if (name.find('/') != std::string_view::npos) {
    return bad_path(path, "has a '/' in the name of the model, or an incomplete '/version/VERSION'");
  }

  RestTarget target;
  if (version) {
    const char* const end = version->data() + version->size();
    const auto [at, error] = std::from_chars(version->data(), end, target.version);
    if (version->empty() || error != std::errc() || at != end || target.version >= kVersionLimit) {
      return bad_path(path, "has the version '" + std::string(*version) + "', which is no number from 0 to 4294967294");
    }
  }
  std::optional<std::string> decoded_name = percent_decoded(name);
  std::optional<std::string> decoded_method = percent_decoded(method);
  if (!decoded_name || !decoded_method) return bad_path(path, "has a '%' that two hexadecimal digits do not follow");
  target.servable = std::move(*decoded_name);
  target.method = std::move(*decoded_method);
  return target;
}

}  // namespace servoir::seed
