#include "http/exchange.h"

namespace servoir::http {

// A client that takes the server for a proxy sends the absolute form, "http://host/path" (RFC 9112, section 3.2.2).
std::string_view Exchange::path() const {
  std::string_view path = target().substr(0, target().find('?'));
  if (path.starts_with('/')) return path;
  if (const std::size_t scheme_end = path.find("://"); scheme_end != std::string_view::npos) {
    const std::size_t at = path.find('/', scheme_end + 3);
    return at == std::string_view::npos ? "/" : path.substr(at);
  }
  return path;
}

std::string_view Exchange::query() const {
  const std::size_t at = target().find('?');
  return at == std::string_view::npos ? std::string_view() : target().substr(at + 1);
}

}  // namespace servoir::http
