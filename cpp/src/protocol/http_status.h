// The HTTP status of an error, for every protocol over HTTP.
#pragma once

#include "base/status.h"

namespace servoir {

[[nodiscard]] int http_status(Code code);

}  // namespace servoir
