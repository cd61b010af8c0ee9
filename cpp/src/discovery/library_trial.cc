#include "discovery/library_trial.h"

#include <sys/stat.h>

#include <map>
#include <utility>

#include "base/forever.h"
#include "base/mutex.h"
#include "discovery/trial.h"

namespace servoir {
namespace {

std::string identity(const std::string& path) {
  struct stat info {};
  if (path.find('/') == std::string::npos || ::stat(path.c_str(), &info) != 0) return path;
  const std::string mark(1, '\0');
  return path + mark + std::to_string(info.st_dev) + mark + std::to_string(info.st_ino) + mark +
         std::to_string(info.st_size) + mark + std::to_string(info.st_mtim.tv_sec) + mark +
         std::to_string(info.st_mtim.tv_nsec);
}

std::vector<std::string> command_of(const TrialProgram& program, const LibraryTrial& trial) {
  std::vector<std::string> command = {program.path};
  if (!trial.plugin.empty()) command.insert(command.end(), {"--plugin", trial.plugin});
  if (!trial.library.empty()) command.insert(command.end(), {"--library", trial.library});
  for (const std::string& symbol : trial.symbols) command.insert(command.end(), {"--symbol", symbol});
  if (trial.devices) command.emplace_back("--devices");
  return command;
}

std::string key_of(const LibraryTrial& trial) {
  std::string key = identity(trial.plugin) + '\0' + identity(trial.library) + (trial.devices ? '1' : '0');
  for (const std::string& symbol : trial.symbols) key += '\0' + symbol;
  return key;
}

LibraryReport report_of(const TrialProgram& program, const TrialOutcome& outcome) {
  LibraryReport report;
  if (outcome.ending == TrialOutcome::Ending::kNotStarted) {
    report.status = Status::Unavailable("the program '" + program.path + "' " + outcome.failure());
    return report;
  }
  report.path = outcome.text_of("path");
  report.backend = outcome.text_of("name");
  report.patterns = outcome.all_of("pattern");
  report.symbols = outcome.all_of("symbol");
  report.version = outcome.text_of("version");
  report.devices = outcome.all_of("device");
  std::string refusal = outcome.finished() ? outcome.text_of("refused") : outcome.failure();
  if (!refusal.empty()) report.status = Status::FailedPrecondition(std::move(refusal));
  return report;
}

// What trials have found, kept as long as the process.
struct Known {
  Mutex mutex;
  Forever<std::map<std::string, LibraryReport>> reports SERVOIR_GUARDED_BY(mutex);
};

}  // namespace

LibraryReport try_library(const TrialProgram& program, const LibraryTrial& trial) {
  static Known known;
  const std::string key = key_of(trial);
  {
    const MutexLock lock(&known.mutex);
    if (const auto found = known.reports.value.find(key); found != known.reports.value.end()) return found->second;
  }
  const TrialOutcome outcome = run_trial(command_of(program, trial), program.limit);
  LibraryReport report = report_of(program, outcome);
  if (report.status.ok() || !(outcome.finished() || report.status.code() == Code::kUnavailable)) {
    const MutexLock lock(&known.mutex);
    known.reports.value.emplace(key, report);
  }
  return report;
}

}  // namespace servoir
