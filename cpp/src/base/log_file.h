// LogFile: appends records to DIRECTORY/servoir.PID.log. A file that is full becomes servoir.PID.log.1, the one before
// it .2 and so on; the oldest goes.
//
// Any thread may write. The file is opened with the first record, and again in a child of fork, which has a file of its
// own. A record that cannot be written is handed back to the caller: losing it silently would hide the reason as well.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace servoir {

class LogFile {
 public:
  struct Limits {
    std::uint64_t max_bytes = 52428800;  // of one file; a single record that is longer gets a file of its own
    std::uint32_t backups = 30;          // full files that are kept
  };

  // Records go to this directory from now on. An empty name: they go to no file.
  void open(std::string directory, const Limits& limits);
  [[nodiscard]] bool enabled() const { return enabled_.load(std::memory_order_relaxed); }
  // A whole record with its line end.
  [[nodiscard]] Status write(std::string_view record);

 private:
  [[nodiscard]] Status prepare(std::uint64_t bytes) SERVOIR_REQUIRES(mutex_);
  [[nodiscard]] Status reopen() SERVOIR_REQUIRES(mutex_);
  void rotate() SERVOIR_REQUIRES(mutex_);

  std::atomic<bool> enabled_{false};
  Mutex mutex_;
  std::string directory_ SERVOIR_GUARDED_BY(mutex_);
  Limits limits_ SERVOIR_GUARDED_BY(mutex_);
  std::string path_ SERVOIR_GUARDED_BY(mutex_);
  UniqueFd fd_ SERVOIR_GUARDED_BY(mutex_);
  std::uint64_t bytes_ SERVOIR_GUARDED_BY(mutex_) = 0;  // in the file
  pid_t owner_ SERVOIR_GUARDED_BY(mutex_) = 0;          // whose file it is
};

}  // namespace servoir
