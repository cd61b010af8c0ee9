#include "base/status.h"

#include <system_error>

namespace servoir {

Status Status::FromErrno(std::string_view what, int errno_value) {
  std::string text(what);
  text += ": ";
  text += std::generic_category().message(errno_value);
  const bool exhausted =
      errno_value == ENOMEM || errno_value == ENOSPC || errno_value == EMFILE || errno_value == ENFILE;
  return {exhausted ? Code::kResourceExhausted : Code::kInternal, std::move(text)};
}

}  // namespace servoir
