// The report of a trial, written and read in C++; Python's Report (trial_program.py) and scripts/library_trial.py write
// and read the same. tests/support/trial_report is an example that all four are tested with.
//
//   report := record* "end" NUL        record := KEY " " TEXT NUL
//
// A NUL within a text is written as a space. Header only, because servoir_trial_load links nothing of Servoir.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace servoir {

inline constexpr std::string_view kTrialReportEnd("end\0", 4);

using TrialRecords = std::vector<std::pair<std::string, std::string>>;  // key and text, in order

inline std::string trial_record(std::string_view key, std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  return std::string(key) + ' ' + text + '\0';
}

// Whether the trial has written all that it wanted to say.
inline bool is_whole_trial_report(std::string_view report) {
  return report == kTrialReportEnd ||
         (report.ends_with(kTrialReportEnd) && report[report.size() - kTrialReportEnd.size() - 1] == '\0');
}

// The records that are there in full, also of a report that has no end.
inline TrialRecords read_trial_report(std::string_view report) {
  TrialRecords records;
  for (std::size_t end = report.find('\0'); end != std::string_view::npos; end = report.find('\0')) {
    const std::string_view record = report.substr(0, end);
    report.remove_prefix(end + 1);
    const std::size_t space = record.find(' ');
    if (space == std::string_view::npos) continue;  // the end
    records.emplace_back(record.substr(0, space), record.substr(space + 1));
  }
  return records;
}

}  // namespace servoir
