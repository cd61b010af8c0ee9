// The path of a REST request: /model/NAME[/version/V]:METHOD, and the other way round /version/V/model/NAME:METHOD.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace servoir::seed {

// What error texts and the table of routes show.
inline constexpr std::string_view kRestPathForm = "/model/NAME[/version/VERSION]:METHOD";

struct RestTarget {
  std::string servable;
  std::uint64_t version = 0;
  std::string method;
};
// NotFound for a path without "/model/", InvalidArgument for other wrong ones; both say what the path should look like.
[[nodiscard]] Result<RestTarget> parse_rest_target(std::string_view path);

}  // namespace servoir::seed
