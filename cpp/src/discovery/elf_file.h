// What a shared object is, read from its file without loading it: what it is built for, its name, what it needs. So a
// library of another machine or a broken download is refused with a clear reason instead of the loader's text, and a
// truncated file is never mapped (reading beyond its end would kill the process). Any thread may call.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace servoir {

struct SharedObject {
  std::string soname;               // empty: it has none
  std::vector<std::string> needed;  // sonames of what it was linked against
};

// FailedPrecondition, saying what the file is, if it is not a whole shared object for the machine this process runs on;
// NotFound if it cannot be opened. The message continues "PATH …".
[[nodiscard]] Result<SharedObject> read_shared_object(const std::string& path);

}  // namespace servoir
