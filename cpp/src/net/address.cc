#include "net/address.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace servoir {
namespace {

constexpr std::string_view kForm =
    "an address is of the form host:port, for example 127.0.0.1:5500 or [::1]:5500, or of the form unix:path";
constexpr std::size_t kMaxPath = sizeof(sockaddr_un{}.sun_path) - 1;

Status wrong(std::string_view text, std::string_view what) {
  std::string message = "'";
  message.append(text).append("' ").append(what);
  return Status::InvalidArgument(std::move(message));
}

Status wrong_port(std::string_view text) {
  return Status::InvalidArgument("the port of '" + std::string(text) + "' should be in 1…65535");
}

bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string Address::text() const {
  if (is_unix) return "unix:" + path;
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Address> parse_address(std::string_view text) {
  Address address;
  if (text.substr(0, 5) == "unix:") {
    address.is_unix = true;
    address.path = text.substr(5);
    if (address.path.empty()) return wrong(text, "has an empty path after 'unix:'; name the socket's file");
    if (address.path.size() > kMaxPath) {
      return wrong(text, "has a path of " + std::to_string(address.path.size()) + " bytes; a Unix socket's path has " +
                             std::to_string(kMaxPath) + " at most: use a shorter or a relative one");
    }
    if (address.path.find('\0') != std::string::npos) return wrong(text, "has a zero byte in its path");
    return address;
  }

  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong(text, "has no port; " + std::string(kForm));
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.empty()) return wrong(text, "has no host before the colon; 0.0.0.0 is every interface of this machine");
  if (port.empty()) return wrong(text, "has no port after the colon; " + std::string(kForm));

  if (!is_number(port)) return Status::InvalidArgument("the port of '" + std::string(text) + "' is not a number");
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc{} || end != port.data() + port.size()) return wrong_port(text);

  if (host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) {
      return wrong(text, "has '" + std::string(host) + "' in brackets, which is not an IPv6 address");
    }
  } else if (host.find(':') != std::string_view::npos) {
    return wrong(text, "cannot be listened on: '" + std::string(host) +
                           "' is not a host name or IPv4 address (an IPv6 address stands in brackets, '[::1]:5500')");
  }
  if (host.find('\0') != std::string_view::npos) return wrong(text, "has a zero byte in its host");
  address.host = host;
  return address;
}

Result<Address> check_address(std::string_view text) {
  SERVOIR_ASSIGN_OR_RETURN(Address address, parse_address(text));
  if (!address.is_unix) {
    if (address.port == 0) return wrong_port(text);
    return address;
  }
  const std::size_t slash = address.path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? "." : address.path.substr(0, std::max<std::size_t>(slash, 1));
  struct stat found {};
  if (::stat(directory.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) {
    return Status::InvalidArgument("the directory '" + directory + "' of '" + std::string(text) + "' does not exist");
  }
  return address;
}

}  // namespace servoir
