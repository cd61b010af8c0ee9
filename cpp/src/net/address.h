// Address: where a listener listens, parsed from the text that the user gave.
//
//   address := "unix:" path | host ":" port        split at the last colon; an IPv6 host stands in brackets
//
// Values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace servoir {

struct Address {
  bool is_unix = false;
  std::string path;        // is_unix
  std::string host;        // else; without the brackets
  std::uint16_t port = 0;  // 0: the kernel chooses one

  // The text that parse_address takes.
  [[nodiscard]] std::string text() const;
};

// InvalidArgument that quotes the text and says what is wrong with it. Nothing is looked up.
[[nodiscard]] Result<Address> parse_address(std::string_view text);

// The same for an address that clients are to know beforehand: the kernel may not choose the port, and the directory of
// a Unix socket must exist. Whether it can be listened on is for the listener to say.
[[nodiscard]] Result<Address> check_address(std::string_view text);

}  // namespace servoir
