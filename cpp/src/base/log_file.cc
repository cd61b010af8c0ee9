#include "base/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace servoir {

void LogFile::open(std::string directory, const Limits& limits) {
  const MutexLock lock(&mutex_);
  directory_ = std::move(directory);
  limits_ = limits;
  fd_.reset();
  enabled_.store(!directory_.empty(), std::memory_order_relaxed);
}

Status LogFile::write(std::string_view record) {
  const MutexLock lock(&mutex_);
  if (directory_.empty()) return {};
  SERVOIR_RETURN_IF_ERROR(prepare(record.size()));
  // O_APPEND and one write a record: even a process that shares the file does not cut records in two.
  std::string_view left = record;
  while (!left.empty()) {
    const ssize_t written = ::write(fd_.get(), left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Status::FromErrno("writing the log file " + path_, errno);
    left.remove_prefix(static_cast<std::size_t>(written));
    bytes_ += static_cast<std::uint64_t>(written);
  }
  return {};
}

// An open file of this process with room for `bytes` more.
Status LogFile::prepare(std::uint64_t bytes) {
  if (const pid_t self = ::getpid(); !fd_.valid() || owner_ != self) {
    path_ = directory_ + "/servoir." + std::to_string(self) + ".log";
    owner_ = self;
    SERVOIR_RETURN_IF_ERROR(reopen());
  }
  if (bytes_ == 0 || bytes_ + bytes <= limits_.max_bytes) return {};
  rotate();
  return reopen();
}

Status LogFile::reopen() {
  fd_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd_.valid()) return Status::FromErrno("opening the log file " + path_, errno);
  struct stat status {};
  bytes_ = ::fstat(fd_.get(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
  return {};
}

// A file that cannot be renamed stays and is appended to: it is better too long than lost.
void LogFile::rotate() {
  if (limits_.backups == 0) {
    (void)::unlink(path_.c_str());
    return;
  }
  for (std::uint32_t number = limits_.backups; number > 0; --number) {
    const std::string from = number == 1 ? path_ : path_ + "." + std::to_string(number - 1);
    (void)std::rename(from.c_str(), (path_ + "." + std::to_string(number)).c_str());
  }
}

}  // namespace servoir
