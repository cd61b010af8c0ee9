#include "base/log.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <thread>
#include <vector>

namespace servoir {
namespace {

class Level {  // puts the process's level back
 public:
  explicit Level(LogLevel level) : before_(log_level()) { set_log_level(level); }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;
  ~Level() { set_log_level(before_); }

 private:
  LogLevel before_;
};

std::string captured(auto action) {
  testing::internal::CaptureStderr();
  action();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, RecordHasTheWholeForm) {
  const Level level(LogLevel::kDebug);
  std::string text;
  std::thread([&] {
    pthread_setname_np(pthread_self(), "reader 7");
    text = captured([] { log_write(LogLevel::kInfo, "/some/where/file.cc", 42, "three %v {} words"); });
  }).join();
  const std::regex form("\\[INFO\\] SERVING\\(" + std::to_string(getpid()) +
                        ",reader 7\\):[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}\\.[0-9]{3} "
                        "file\\.cc:42\\] three %v \\{\\} words\n");
  EXPECT_TRUE(std::regex_match(text, form)) << text;
}

TEST(Log, EachLevelHasItsName) {
  const Level level(LogLevel::kDebug);
  EXPECT_EQ(captured([] { SERVOIR_DEBUG("x"); }).substr(0, 8), "[DEBUG] ");
  EXPECT_EQ(captured([] { SERVOIR_INFO("x"); }).substr(0, 7), "[INFO] ");
  EXPECT_EQ(captured([] { SERVOIR_WARNING("x"); }).substr(0, 10), "[WARNING] ");
  EXPECT_EQ(captured([] { SERVOIR_ERROR("x"); }).substr(0, 8), "[ERROR] ");
}

TEST(Log, DisabledLevelsWriteNothingAndDoNotEvaluate) {
  const Level level(LogLevel::kError);
  int evaluated = 0;
  const std::string text = captured([&] {
    SERVOIR_WARNING((++evaluated, "x"));
    SERVOIR_ERROR((++evaluated, "kept"));
  });
  EXPECT_EQ(evaluated, 1);
  EXPECT_NE(text.find("kept"), std::string::npos);
  EXPECT_FALSE(log_enabled(LogLevel::kWarning));
  EXPECT_TRUE(log_enabled(LogLevel::kError));
}

TEST(Log, GoesToAFileAndFromALevelOnToStderr) {
  const Level level(LogLevel::kInfo);
  std::string directory = testing::TempDir() + "servoir-log-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string on_stderr = captured([&] {
    set_log_directory(directory, {}, LogLevel::kError);
    SERVOIR_DEBUG("too low");
    SERVOIR_INFO("for the file");
    SERVOIR_ERROR("for both");
    log_write_file("[INFO] made elsewhere");
    set_log_directory("", {}, LogLevel::kDebug);
    SERVOIR_INFO("back again");
  });
  std::ifstream file(directory + "/servoir." + std::to_string(getpid()) + ".log");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string any = R"(\] SERVING\([^\n]*\] )";
  EXPECT_TRUE(std::regex_match(
      text, std::regex("\\[INFO" + any + "for the file\n\\[ERROR" + any + "for both\n\\[INFO\\] made elsewhere\n")))
      << text;
  EXPECT_TRUE(std::regex_match(on_stderr, std::regex("\\[ERROR" + any + "for both\n\\[INFO" + any + "back again\n")))
      << on_stderr;
  std::filesystem::remove_all(directory);
}

struct Case {
  const char* glog_v;
  const char* submodule;
  const char* servoir;
  LogLevel level;
  std::vector<std::string> ignored;  // names of the variables complained about
};

// A lock that another thread has at the moment of the fork stays taken in the child for ever.
TEST(Log, AChildForkedInTheMiddleOfRecordsCanLog) {
  const Level level(LogLevel::kInfo);
  testing::internal::CaptureStderr();
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!done) SERVOIR_INFO("a record of the parent");
    });
  }
  int hung = 0;
  for (int i = 0; i < 300 && hung == 0; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(5);  // ends it if it hangs
      SERVOIR_INFO("a record of the child");
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFEXITED(status)) ++hung;
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  (void)testing::internal::GetCapturedStderr();
  EXPECT_EQ(hung, 0);
}

TEST(LogEnvironment, Table) {
  using enum LogLevel;
  const std::vector<Case> cases = {
      {nullptr, nullptr, nullptr, kWarning, {}},
      {"0", nullptr, nullptr, kDebug, {}},
      {"1", nullptr, nullptr, kInfo, {}},
      {"3", nullptr, nullptr, kError, {}},
      {"4", nullptr, nullptr, kWarning, {"GLOG_v"}},
      {"-1", nullptr, nullptr, kWarning, {"GLOG_v"}},
      {"", nullptr, nullptr, kWarning, {"GLOG_v"}},
      {"1", "{SERVING:3}", nullptr, kError, {}},
      {"1", "{ SERVING : 0 }", nullptr, kDebug, {}},
      {"1", "{OTHER:3}", nullptr, kInfo, {}},
      {"1", "{OTHER:3,SERVING:0}", nullptr, kDebug, {}},
      {"1", "{OTHER:9,SERVING:0}", nullptr, kDebug, {}},
      {"1", "{}", nullptr, kInfo, {}},
      {"1", "SERVING:3", nullptr, kInfo, {"MS_SUBMODULE_LOG_v"}},
      {"1", "{SERVING}", nullptr, kInfo, {"MS_SUBMODULE_LOG_v"}},
      {"1", "{SERVING:7}", nullptr, kInfo, {"MS_SUBMODULE_LOG_v"}},
      {"1", "{SERVING:x}", nullptr, kInfo, {"MS_SUBMODULE_LOG_v"}},
      {"1", "{SERVING:3}", "debug", kDebug, {}},
      {"1", nullptr, " Error ", kError, {}},
      {"1", "{SERVING:3}", "loud", kError, {"SERVOIR_LOG"}},
      {"x", "y", "z", kWarning, {"GLOG_v", "MS_SUBMODULE_LOG_v", "SERVOIR_LOG"}},
  };
  for (const Case& c : cases) {
    std::vector<std::string> complaints;
    EXPECT_EQ(initial_log_level(c.glog_v, c.submodule, c.servoir, &complaints), c.level);
    ASSERT_EQ(complaints.size(), c.ignored.size());
    for (std::size_t i = 0; i < complaints.size(); ++i) {
      EXPECT_EQ(complaints[i].rfind(c.ignored[i] + " is '", 0), 0U) << complaints[i];
    }
  }
}

}  // namespace
}  // namespace servoir
