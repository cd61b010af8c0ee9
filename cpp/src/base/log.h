// Logging of the C++ parts: one line a record, "[LEVEL] SERVING(pid,name):time file:line] text", on stderr.
//
// Any thread may log. The level is process-wide; it is set once at start from GLOG_v (0 debug … 3 error, default 2) or
// SERVOIR_LOG, and may be set again at any time. A disabled level costs one relaxed load.
#pragma once

#include <string>
#include <string_view>

namespace servoir {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

void set_log_level(LogLevel level);
[[nodiscard]] LogLevel log_level();
[[nodiscard]] bool log_enabled(LogLevel level);
// `file` is a source path; only its last component is printed.
void log_write(LogLevel level, std::string_view file, int line, std::string_view text);

#define SERVOIR_LOG(level, text)                                                                \
  do {                                                                                          \
    if (::servoir::log_enabled(level)) ::servoir::log_write(level, __FILE__, __LINE__, (text)); \
  } while (false)
#define SERVOIR_DEBUG(text) SERVOIR_LOG(::servoir::LogLevel::kDebug, text)
#define SERVOIR_INFO(text) SERVOIR_LOG(::servoir::LogLevel::kInfo, text)
#define SERVOIR_WARNING(text) SERVOIR_LOG(::servoir::LogLevel::kWarning, text)
#define SERVOIR_ERROR(text) SERVOIR_LOG(::servoir::LogLevel::kError, text)

}  // namespace servoir
