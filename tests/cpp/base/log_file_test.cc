#include "base/log_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <vector>

namespace servoir {
namespace {

namespace fs = std::filesystem;

class LogFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "servoir-log-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }

  [[nodiscard]] std::string path(const std::string& suffix = "") const {
    return directory_.string() + "/servoir." + std::to_string(::getpid()) + ".log" + suffix;
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }

  fs::path directory_;
  LogFile log_;
};

TEST_F(LogFileTest, WritesNothingUntilItIsOpened) {
  EXPECT_FALSE(log_.enabled());
  EXPECT_TRUE(log_.write("x\n").ok());
  log_.open(directory_.string(), {});
  EXPECT_TRUE(log_.enabled());
  EXPECT_EQ(files(), 0U);
  EXPECT_TRUE(log_.write("y\n").ok());
  EXPECT_EQ(read(path()), "y\n");
}

TEST_F(LogFileTest, ContinuesAFileThatIsThere) {
  std::ofstream(path()) << "12345678\n";
  log_.open(directory_.string(), {10, 1});
  EXPECT_TRUE(log_.write("a\n").ok());  // it had no room for this any more
  EXPECT_TRUE(log_.write("b\n").ok());
  EXPECT_EQ(read(path(".1")) + read(path()), "12345678\na\nb\n");
}

TEST_F(LogFileTest, KeepsTheNewestFiles) {
  log_.open(directory_.string(), {10, 2});
  for (char c = 'a'; c <= 'e'; ++c) {
    EXPECT_TRUE(log_.write(std::string(4, c) + "\n").ok());
    EXPECT_TRUE(log_.write(std::string(4, c) + "\n").ok());
  }
  EXPECT_EQ(read(path(".2")), "cccc\ncccc\n");
  EXPECT_EQ(read(path(".1")), "dddd\ndddd\n");
  EXPECT_EQ(read(path()), "eeee\neeee\n");
  EXPECT_EQ(files(), 3U);
}

TEST_F(LogFileTest, ARecordLargerThanTheLimitGetsAFile) {
  log_.open(directory_.string(), {10, 5});
  const std::string large(30, 'x');
  EXPECT_TRUE(log_.write("a\n").ok());
  EXPECT_TRUE(log_.write(large).ok());
  EXPECT_TRUE(log_.write("b\n").ok());
  EXPECT_EQ(read(path(".2")), "a\n");
  EXPECT_EQ(read(path(".1")), large);
  EXPECT_EQ(read(path()), "b\n");
}

TEST_F(LogFileTest, AChildHasAFileOfItsOwn) {
  log_.open(directory_.string(), {});
  EXPECT_TRUE(log_.write("parent\n").ok());
  const pid_t child = ::fork();
  if (child == 0) ::_exit(log_.write("child\n").ok() ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(log_.write("parent\n").ok());
  EXPECT_EQ(read(path()), "parent\nparent\n");
  EXPECT_EQ(read(directory_.string() + "/servoir." + std::to_string(child) + ".log"), "child\n");
}

TEST_F(LogFileTest, SaysWhyItCannotWrite) {
  log_.open(directory_.string() + "/missing", {});
  const Status status = log_.write("x\n");
  EXPECT_NE(status.message().find("/missing/servoir."), std::string_view::npos) << status.message();
  fs::create_directory(directory_ / "missing");
  EXPECT_TRUE(log_.write("x\n").ok()) << "it tries again";
}

TEST_F(LogFileTest, RecordsOfManyThreadsStayWhole) {
  log_.open(directory_.string(), {2000, 1000});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 500; ++i) ASSERT_TRUE(log_.write(std::string(20, static_cast<char>('a' + t)) + "\n").ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::size_t lines = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_)) {
    EXPECT_LE(entry.file_size(), 2000U);
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line); ++lines) {
      ASSERT_EQ(line.size(), 20U);
      ASSERT_TRUE(std::ranges::all_of(line, [&](char c) { return c == line.front(); })) << line;
    }
  }
  EXPECT_EQ(lines, 2000U);
}

}  // namespace
}  // namespace servoir
