// Why memory for the arena cannot be had: the kernel's reason, and the limit of the process that stands in the way.
#pragma once

#include <string_view>

#include "base/status.h"

namespace servoir {

// `what` was done when the error, an errno, came.
[[nodiscard]] Status arena_error(std::string_view what, int error);

}  // namespace servoir
