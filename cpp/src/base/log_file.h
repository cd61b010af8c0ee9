// LogFile: appends records to DIRECTORY/servoir.PID.log. A file that is full becomes servoir.PID.log.1, the one before
// it .2 and so on; the oldest goes.
//
// Any thread may write. The file is opened with the first record, and again in a child of fork, which has a file of its
// own. A record that cannot be written is handed back to the caller: losing it silently would hide the reason as well.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/unique_fd.h"

namespace servoir {

class LogFile {
 public:
  struct Limits {
    std::uint64_t max_bytes = 52428800;  // of one file; a single longer record still gets one
    std::uint32_t backups = 30;          // full files that are kept
  };

  // Records go to this directory from now on; an empty one: to no file.
  void open(std::string directory, const Limits& limits);
  [[nodiscard]] bool enabled() const { return enabled_.load(std::memory_order_relaxed); }
  // A whole record with its line end.
  [[nodiscard]] Status write(std::string_view record);

 private:
  [[nodiscard]] Status prepare(std::uint64_t bytes);
  [[nodiscard]] Status reopen();
  void rotate();

  std::atomic<bool> enabled_{false};
  std::mutex mutex_;
  std::string directory_;
  Limits limits_;
  std::string path_;
  UniqueFd fd_;
  std::uint64_t bytes_ = 0;  // in the file
  pid_t owner_ = 0;          // whose file it is
};

}  // namespace servoir
