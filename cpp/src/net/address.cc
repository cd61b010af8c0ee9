#include "net/address.h"

#include <sys/un.h>

#include <charconv>

namespace servoir {
namespace {

constexpr std::string_view kForm =
    "it must be 'HOST:PORT', for example '127.0.0.1:5500' or '[::1]:5500', or 'unix:PATH'";
constexpr std::size_t kMaxPath = sizeof(sockaddr_un{}.sun_path) - 1;

Status wrong(std::string_view text, std::string_view what) {
  std::string message = "address '";
  message.append(text).append("' ").append(what);
  return Status::InvalidArgument(std::move(message));
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
    if (address.path.empty()) return wrong(text, "has an empty path behind 'unix:': name the socket's file");
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
  if (host.empty()) {
    return wrong(text, "has no host before the port; " + std::string(kForm) + " ('0.0.0.0:PORT' for all interfaces)");
  }
  if (port.empty()) return wrong(text, "has no port behind the colon; " + std::string(kForm));

  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (end != port.data() + port.size() || (error != std::errc{} && error != std::errc::result_out_of_range)) {
    return wrong(text, "has the port '" + std::string(port) + "', which is not a number; " + std::string(kForm));
  }
  if (error == std::errc::result_out_of_range || number > 65535) {
    return wrong(text, "has the port " + std::string(port) + "; a port is a number from 1 to 65535");
  }
  address.port = static_cast<std::uint16_t>(number);

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

}  // namespace servoir
