// What a shared object is built for, read from its ELF header, so that a library of another machine is refused with a
// reason instead of the loader's riddle. Any thread may call.
#pragma once

#include <string>

#include "base/status.h"

namespace servoir {

// FailedPrecondition, saying what the file is, if it is not a shared object for the machine this process runs on;
// NotFound if it cannot be opened.
[[nodiscard]] Status check_shared_object(const std::string& path);

}  // namespace servoir
