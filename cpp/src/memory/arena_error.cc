#include "memory/arena_error.h"

#include <sys/resource.h>

#include <cerrno>
#include <string>

namespace servoir {
namespace {

constexpr const char* kRemedy = "; raise it, or set a smaller arena (SERVOIR_ARENA_LIMIT_MB, in MiB)";

std::string limit_text(int error) {
  rlimit limit{};
  if (error == ENOMEM && ::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    return "; the process may have " + std::to_string(limit.rlim_cur) +
           " bytes of address space (ulimit -v), of which a worker needs twice the arena's size and its own" + kRemedy;
  }
  if (error == EFBIG && ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    return "; files may have " + std::to_string(limit.rlim_cur) + " bytes (ulimit -f), those in memory too" + kRemedy;
  }
  return {};
}

}  // namespace

Status arena_error(std::string_view what, int error) {
  const Status plain = Status::FromErrno(what, error);
  return {plain.code(), std::string(plain.message()) + limit_text(error)};
}

}  // namespace servoir
