// Logging of the C++ parts: one line a record, "[LEVEL] SERVING(pid,name):time file:line] text", on stderr, or in a
// file that servoir/log.py writes to as well (it reads the environment for both).
//
// Any thread may log. The level is process-wide; the first record reads it from the environment, and it may be set at
// any time. A disabled level costs one relaxed load.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/log_file.h"

namespace servoir {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// The level that the environment asks for. Each variable wins over the one before it; null where it is not set:
// GLOG_v (0 debug … 3 error), MS_SUBMODULE_LOG_v ("{SERVING:n}", other names are passed over), SERVOIR_LOG (debug,
// info, warning, error). A value that cannot be understood is ignored, and adds a line to `complaints`. Default:
// warning.
[[nodiscard]] LogLevel initial_log_level(const char* glog_v, const char* submodule_log_v, const char* servoir_log,
                                         std::vector<std::string>* complaints);

void set_log_level(LogLevel level);
[[nodiscard]] LogLevel log_level();
[[nodiscard]] bool log_enabled(LogLevel level);
// From now on records go to a file in `directory`, and to stderr only those of the level `on_stderr` and above. If
// the directory is empty, all records go to stderr.
void set_log_directory(std::string directory, const LogFile::Limits& limits, LogLevel on_stderr);
// Puts a record that is complete but for its line end, as servoir/log.py makes them, into that file, or to stderr if
// that is not possible. The caller decides which levels go to stderr as well.
void log_write_file(std::string record);
// `file` is a source path; only its last component is printed.
void log_write(LogLevel level, std::string_view file, int line, std::string_view text);

// Counts a record that the caller has left out because there are too many of its kind. Records that standard error
// does not take are counted without this.
void log_count_left_out();
// How many records of this process were left out so far.
[[nodiscard]] std::uint64_t log_left_out();
// The count goes on in *place, which others may read; null: in a place of the log's own.
void log_count_left_out_in(std::atomic<std::uint64_t>* place);

#define SERVOIR_LOG(level, text)                                                                \
  do {                                                                                          \
    if (::servoir::log_enabled(level)) ::servoir::log_write(level, __FILE__, __LINE__, (text)); \
  } while (false)
#define SERVOIR_DEBUG(text) SERVOIR_LOG(::servoir::LogLevel::kDebug, text)
#define SERVOIR_INFO(text) SERVOIR_LOG(::servoir::LogLevel::kInfo, text)
#define SERVOIR_WARNING(text) SERVOIR_LOG(::servoir::LogLevel::kWarning, text)
#define SERVOIR_ERROR(text) SERVOIR_LOG(::servoir::LogLevel::kError, text)

}  // namespace servoir
