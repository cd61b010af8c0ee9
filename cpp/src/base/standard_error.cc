#include "base/standard_error.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

namespace servoir {
namespace {

// How long a reader that lags is waited for. It is not waited for again until it has read on.
constexpr int kPatienceMs = 50;

}  // namespace

bool StandardError::write(std::string_view record) {
  if (dropped_ > 0 && is_ready(0) &&
      put("[WARNING] SERVING: " + std::to_string(dropped_) +
          " records before this one were dropped, because standard error did not take them\n")) {
    dropped_ = 0;
  }
  const bool written = is_ready(dropped_ > 0 ? 0 : kPatienceMs) && put(record);
  if (!written) ++dropped_;
  return written;
}

bool StandardError::is_ready(int milliseconds) const {
  pollfd waiting{fd_, POLLOUT, 0};
  return ::poll(&waiting, 1, milliseconds) == 1;
}

// In pieces for which a pipe that can be written to has room.
bool StandardError::put(std::string_view text) const {
  while (!text.empty()) {
    const ssize_t n = ::write(fd_, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (n < 0 && errno != EINTR && errno != EAGAIN) return false;
    if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
    if (!text.empty() && !is_ready(kPatienceMs)) return false;
  }
  return true;
}

}  // namespace servoir
