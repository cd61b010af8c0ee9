#include "base/log.h"

#include <pthread.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/forever.h"
#include "base/mutex.h"
#include "base/standard_error.h"

namespace servoir {
namespace {

constexpr int kUnset = -1;  // below every level, so that the first record, whatever its level, reads the environment
std::atomic<int> g_level{kUnset};

constexpr std::array<std::string_view, 4> kNames = {"DEBUG", "INFO", "WARNING", "ERROR"};
constexpr std::array<spdlog::level::level_enum, 4> kSpdlogLevels = {spdlog::level::debug, spdlog::level::info,
                                                                    spdlog::level::warn, spdlog::level::err};

// %* : the level's name as the log's readers expect it
class LevelFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& record, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string_view name = record.level <= spdlog::level::debug  ? kNames[0]
                                  : record.level == spdlog::level::info ? kNames[1]
                                  : record.level == spdlog::level::warn ? kNames[2]
                                                                        : kNames[3];
    out.append(name.data(), name.data() + name.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<LevelFlag>(); }
};

// %& : the name of the thread, which is that of the program unless the thread was given a name
class ThreadFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& out) override {
    std::array<char, 16> name{};
    prctl(PR_GET_NAME, name.data());
    const std::string_view text(name.data());
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<ThreadFlag>(); }
};

// %~ : microseconds within the millisecond, three digits
class MicrosFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& record, const std::tm&, spdlog::memory_buf_t& out) override {
    using std::chrono::microseconds;
    const auto micros = std::chrono::duration_cast<microseconds>(record.time.time_since_epoch()).count() % 1000;
    out.push_back(static_cast<char>('0' + micros / 100));
    out.push_back(static_cast<char>('0' + micros / 10 % 10));
    out.push_back(static_cast<char>('0' + micros % 10));
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<MicrosFlag>(); }
};

// Forever: threads may log while the process ends.
LogFile& log_file() {
  static Forever<LogFile> forever;
  return forever.value;
}

// Held while a record is written, and while the process forks: a child would otherwise find the locks within (of the
// sinks, of the file, of stderr) taken for ever by a thread that it does not have.
constinit Mutex g_record;

void before_fork() SERVOIR_ACQUIRE(g_record) { g_record.lock(); }
void after_fork() SERVOIR_RELEASE(g_record) { g_record.unlock(); }

// This happens when the library is loaded. With the first record it would be too late: the process may fork meanwhile.
[[maybe_unused]] const int g_held_by_fork = ::pthread_atfork(before_fork, after_fork, after_fork);

// Records that were left out.
constinit std::atomic<std::uint64_t> g_left_out{0};
constinit std::atomic<std::uint64_t>* g_left_out_place SERVOIR_GUARDED_BY(g_record) = &g_left_out;

void count_left_out() SERVOIR_REQUIRES(g_record) { g_left_out_place->fetch_add(1, std::memory_order_relaxed); }

void put_on_standard_error(std::string_view record) SERVOIR_REQUIRES(g_record) {
  static Forever<StandardError> forever{STDERR_FILENO};
  if (!forever.value.write(record)) count_left_out();
}

// Writes to the file. Where that is not possible the record goes to stderr, with the reason once for each reason.
void put_into_file(std::string_view record) SERVOIR_REQUIRES(g_record) {
  static Forever<std::string> last;
  const Status written = log_file().write(record);
  if (written.ok()) return;
  std::string text(record);
  if (last.value != written.message()) {
    last.value = written.message();
    text = "[ERROR] SERVING: " + last.value + "; records go to standard error instead\n" + text;
  }
  put_on_standard_error(text);
}

class StderrSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& record) override {
    g_record.assert_held();
    spdlog::memory_buf_t text;
    formatter_->format(record, text);
    put_on_standard_error({text.data(), text.size()});
  }
  void flush_() override {}
};

class FileSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& record) override {
    g_record.assert_held();
    if (!log_file().enabled()) return;
    spdlog::memory_buf_t text;
    formatter_->format(record, text);
    put_into_file({text.data(), text.size()});
  }
  void flush_() override {}
};

struct Logger {
  std::shared_ptr<StderrSink> stderr_sink = std::make_shared<StderrSink>();
  spdlog::logger all{"servoir", {stderr_sink, std::make_shared<FileSink>()}};

  Logger() {
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<LevelFlag>('*').add_flag<ThreadFlag>('&').add_flag<MicrosFlag>('~');
    formatter->set_pattern("[%*] SERVING(%P,%&):%Y-%m-%d-%H:%M:%S.%e.%~ %s:%#] %v");
    all.set_formatter(std::move(formatter));
    all.set_level(spdlog::level::trace);  // log_enabled() has decided already
  }
};

Logger& logger() {
  static Forever<Logger> forever;
  return forever.value;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  const auto index = static_cast<std::size_t>(level);
  return kSpdlogLevels[index < kSpdlogLevels.size() ? index : 3];
}

std::optional<LogLevel> level_number(std::string_view text) {
  if (text.size() != 1 || text[0] < '0' || text[0] > '3') return std::nullopt;
  return static_cast<LogLevel>(text[0] - '0');
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// "{SERVING:n,OTHER:m}": the level of SERVING, if it is there; false when the text is not of this form.
bool submodule_level(std::string_view text, std::optional<LogLevel>* out) {
  text = trim(text);
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return false;
  text = text.substr(1, text.size() - 2);
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view entry = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const std::size_t colon = entry.find(':');
    if (colon == std::string_view::npos) return false;
    if (trim(entry.substr(0, colon)) != "SERVING") continue;
    const std::optional<LogLevel> level = level_number(trim(entry.substr(colon + 1)));
    if (!level.has_value()) return false;
    *out = level;
  }
  return true;
}

int read_environment() {
  std::vector<std::string> complaints;
  const LogLevel level = initial_log_level(std::getenv("GLOG_v"), std::getenv("MS_SUBMODULE_LOG_v"),
                                           std::getenv("SERVOIR_LOG"), &complaints);
  int expected = kUnset;
  if (!g_level.compare_exchange_strong(expected, static_cast<int>(level))) return expected;
  for (const std::string& complaint : complaints) SERVOIR_WARNING(complaint);
  return static_cast<int>(level);
}

}  // namespace

LogLevel initial_log_level(const char* glog_v, const char* submodule_log_v, const char* servoir_log,
                           std::vector<std::string>* complaints) {
  LogLevel level = LogLevel::kWarning;
  auto complain = [&](std::string_view variable, std::string_view value, std::string_view right) {
    complaints->push_back(std::string(variable) + " is '" + std::string(value) + "' and is ignored; it can be " +
                          std::string(right));
  };
  if (glog_v != nullptr) {
    if (const std::optional<LogLevel> given = level_number(trim(glog_v))) {
      level = *given;
    } else {
      complain("GLOG_v", glog_v, "0 (debug), 1 (info), 2 (warning) or 3 (error)");
    }
  }
  if (submodule_log_v != nullptr) {
    std::optional<LogLevel> given;
    if (!submodule_level(submodule_log_v, &given)) {
      complain("MS_SUBMODULE_LOG_v", submodule_log_v, "{SERVING:n} with n from 0 (debug) to 3 (error)");
    } else if (given.has_value()) {
      level = *given;
    }
  }
  if (servoir_log != nullptr) {
    constexpr std::array<std::string_view, 4> kWords = {"debug", "info", "warning", "error"};
    std::string word(trim(servoir_log));
    std::ranges::transform(word, word.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const auto found = std::find(kWords.begin(), kWords.end(), word);
    if (found != kWords.end()) {
      level = static_cast<LogLevel>(found - kWords.begin());
    } else {
      complain("SERVOIR_LOG", servoir_log, "debug, info, warning or error");
    }
  }
  return level;
}

void set_log_level(LogLevel level) { g_level.store(static_cast<int>(level), std::memory_order_relaxed); }

LogLevel log_level() {
  const int level = g_level.load(std::memory_order_relaxed);
  return static_cast<LogLevel>(level == kUnset ? read_environment() : level);
}

bool log_enabled(LogLevel level) {
  const int lowest = g_level.load(std::memory_order_relaxed);
  if (static_cast<int>(level) < lowest) return false;
  return lowest != kUnset || static_cast<int>(level) >= read_environment();
}

void set_log_directory(std::string directory, const LogFile::Limits& limits, LogLevel on_stderr) {
  logger().stderr_sink->set_level(directory.empty() ? spdlog::level::trace : spdlog_level(on_stderr));
  log_file().open(std::move(directory), limits);
}

void log_write_file(std::string record) {
  record += '\n';
  const MutexLock whole(&g_record);
  put_into_file(record);
}

void log_write_stderr(std::string record) {
  record += '\n';
  const MutexLock whole(&g_record);
  put_on_standard_error(record);
}

void log_count_left_out() {
  const MutexLock whole(&g_record);
  count_left_out();
}

std::uint64_t log_left_out() {
  const MutexLock whole(&g_record);
  return g_left_out_place->load(std::memory_order_relaxed);
}

void log_count_left_out_in(std::atomic<std::uint64_t>* place) {
  const MutexLock whole(&g_record);
  std::atomic<std::uint64_t>* const next = place != nullptr ? place : &g_left_out;
  if (next == g_left_out_place) return;
  next->store(g_left_out_place->load(std::memory_order_relaxed), std::memory_order_relaxed);
  g_left_out_place = next;
}

void log_write(LogLevel level, std::string_view file, int line, std::string_view text) {
  const std::size_t slash = file.rfind('/');
  const std::string name(slash == std::string_view::npos ? file : file.substr(slash + 1));
  const MutexLock whole(&g_record);
  logger().all.log(spdlog::source_loc{name.c_str(), line, ""}, spdlog_level(level),
                   spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace servoir
