#include "discovery/trial_report.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace servoir {
namespace {

// The example that the Python side is tested with as well, and what is in it.
std::string example() {
  std::ifstream file(SERVOIR_TRIAL_REPORT, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
const TrialRecords kRecords = {{"path", "/opt/a directory/libthing.so"},
                               {"version", ""},
                               {"device", "CPU"},
                               {"device", "GPU.0 „ß“"},
                               {"refused", "two lines:\nthe second, and one NUL"}};

TEST(TrialReportTest, TheExampleIsWritten) {
  TrialRecords given = kRecords;
  given.back().second.replace(given.back().second.find(" NUL"), 1, 1, '\0');
  std::string report;
  for (const auto& [key, text] : given) report += trial_record(key, text);
  report += kTrialReportEnd;
  EXPECT_EQ(report, example());
}

TEST(TrialReportTest, TheExampleIsRead) {
  EXPECT_EQ(read_trial_report(example()), kRecords);
  EXPECT_TRUE(is_whole_trial_report(example()));
}

TEST(TrialReportTest, AReportThatBreaksOffIsNotWhole) {
  const std::string whole = example();
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_FALSE(is_whole_trial_report(whole.substr(0, bytes))) << bytes;
  }
  EXPECT_EQ(read_trial_report(std::string_view("version 1\0device CP", 19)).size(), 1U);
  EXPECT_FALSE(is_whole_trial_report(std::string("version the end\0", 16)));
  EXPECT_TRUE(is_whole_trial_report(std::string("end\0", 4)));
}

}  // namespace
}  // namespace servoir
