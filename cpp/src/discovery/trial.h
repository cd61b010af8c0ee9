// A trial: something that may crash, abort, end or hang its process is done in a process of its own first, which tells
// what came of it.
//
// The child is started with posix_spawn (no copy of this process and its threads), in a process group of its own,
// without core dumps, with this process's environment as it is. It writes a report (trial_report.h) to descriptor 3,
// and is killed, with its group, as soon as the report has ended, or when the time is over. What it prints to standard
// output is lost; the end of what it prints to standard error is kept for messages.
//
// Any thread may call; nothing is kept between calls. The records belong to the caller.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "discovery/trial_report.h"

namespace servoir {

inline constexpr int kTrialReportFd = 3;

struct TrialOutcome {
  enum class Ending { kFinished, kNotStarted, kExited, kSignalled, kTimedOut };

  Ending ending = Ending::kNotStarted;
  int number = 0;  // errno, exit status, signal
  std::chrono::milliseconds limit{0};
  std::string said;  // on standard error, its end
  TrialRecords records;

  [[nodiscard]] bool finished() const { return ending == Ending::kFinished; }
  // The first record with this key; empty if there is none.
  [[nodiscard]] std::string text_of(const std::string& key) const;
  [[nodiscard]] std::vector<std::string> all_of(const std::string& key) const;
  // How it ended otherwise, to continue "PATH …": "crashes when it is loaded (Segmentation fault)".
  [[nodiscard]] std::string failure() const;
};

// `command`: the program's path and its arguments.
[[nodiscard]] TrialOutcome run_trial(const std::vector<std::string>& command, std::chrono::milliseconds limit);

}  // namespace servoir
