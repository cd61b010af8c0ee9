#include "discovery/library_trial.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "discovery/library_search.h"
#include "discovery/trial.h"

namespace servoir {
namespace {

namespace fs = std::filesystem;

const TrialProgram kProgram{SERVOIR_TRIAL_PROGRAM, std::chrono::seconds(30)};
const TrialProgram kImpatient{SERVOIR_TRIAL_PROGRAM, std::chrono::milliseconds(300)};

std::string library(const std::string& folder) { return SERVOIR_FAKE_LIBRARIES + folder + "/libthing.so"; }

Status verdict(const std::string& folder, const TrialProgram& program = kProgram) {
  return try_library(program, {library(folder), {"thing_version"}, "", false}).status;
}

class LibraryTrialTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "servoir-trial-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path root_;
};

TEST_F(LibraryTrialTest, AGoodLibraryTellsWhereItIs) {
  const LibraryReport report = try_library(kProgram, {library("good"), {"thing_version"}, "", false});
  EXPECT_TRUE(report.status.ok()) << report.status.message();
  EXPECT_TRUE(fs::equivalent(report.path, library("good")));
}

TEST_F(LibraryTrialTest, EachFaultHasItsMessage) {
  EXPECT_EQ(verdict("aborts").message(),
            "aborts when it is loaded (Aborted); it said: thing: the tables are not in order");
  EXPECT_EQ(verdict("crashes").message(), "crashes when it is loaded (Segmentation fault)");
  EXPECT_EQ(verdict("exits").message(), "ends the process when it is loaded (exit status 3)");
  EXPECT_EQ(verdict("lacks_a_function").message(),
            "cannot be loaded: " + library("lacks_a_function") + ": undefined symbol: function_that_nobody_has");
  const LibraryReport report = try_library(kProgram, {library("good"), {"thing_version", "thing_open"}, "", false});
  EXPECT_EQ(report.status.message(),
            "has no function thing_open: it is another library, or another version, than is needed");
}

TEST_F(LibraryTrialTest, WhatHangsIsEndedWithAllThatItStarted) {
  EXPECT_EQ(verdict("hangs", kImpatient).message(), "hangs when it is loaded: it was not done after 0.3 s");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(verdict("hangs_with_a_child", kImpatient).message(),
            "hangs when it is loaded: it was not done after 0.3 s");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST_F(LibraryTrialTest, OnlyTheEndOfWhatItSaysIsKept) {
  const std::string text(verdict("talks").message());
  EXPECT_TRUE(text.starts_with("ends the process when it is loaded (exit status 0); it said: ")) << text;
  EXPECT_LT(text.size(), 3000U);
}

TEST_F(LibraryTrialTest, AMissingDependencyIsNamed) {
  fs::copy_file(library("version1"), root_ / "libthing.so");  // without libthing_part.so next to it
  const LibraryReport report = try_library(kProgram, {root_ / "libthing.so", {}, "", false});
  EXPECT_EQ(report.status.message(),
            "cannot be loaded because of a library that it needs: libthing_part.so: cannot open shared object file: No"
            " such file or directory");
  // Not remembered: the reason is another file's.
  fs::copy_file(SERVOIR_FAKE_LIBRARIES "version1/libthing_part.so", root_ / "libthing_part.so");
  EXPECT_TRUE(try_library(kProgram, {root_ / "libthing.so", {}, "", false}).status.ok());
}

TEST_F(LibraryTrialTest, TheSameFileIsTriedOnce) {
  // Remembered: with a program that cannot even be started the verdict stays.
  const TrialProgram none{"/no/such/program", std::chrono::seconds(1)};
  const LibraryTrial trial{root_ / "libthing.so", {"thing_version"}, "", false};
  fs::copy_file(library("good"), root_ / "libthing.so");
  EXPECT_TRUE(try_library(kProgram, trial).status.ok());
  EXPECT_TRUE(try_library(none, trial).status.ok());
  EXPECT_EQ(verdict("aborts", none).message(), verdict("aborts").message());
  // Another file under this name is another one.
  fs::remove(root_ / "libthing.so");
  fs::copy_file(library("crashes"), root_ / "libthing.so");
  EXPECT_EQ(try_library(none, trial).status.code(), Code::kUnavailable);
  EXPECT_EQ(try_library(kProgram, trial).status.message(), "crashes when it is loaded (Segmentation fault)");
}

TEST_F(LibraryTrialTest, TheEnvironmentIsLeftAlone) {
  const char* before = std::getenv("LD_LIBRARY_PATH");
  const std::string was = before != nullptr ? before : "(not set)";
  (void)verdict("version1");
  const char* after = std::getenv("LD_LIBRARY_PATH");
  EXPECT_EQ(after != nullptr ? after : "(not set)", was);
}

TEST_F(LibraryTrialTest, IgnoredChildrenDoNoHarm) {
  const auto before = std::signal(SIGCHLD, SIG_IGN);
  fs::copy_file(library("crashes"), root_ / "libthing.so");
  const LibraryReport bad = try_library(kProgram, {root_ / "libthing.so", {}, "", false});
  const LibraryReport good = try_library(kProgram, {library("version2"), {}, "", false});
  std::signal(SIGCHLD, before);
  EXPECT_FALSE(bad.status.ok());
  EXPECT_TRUE(good.status.ok()) << good.status.message();
}

TEST_F(LibraryTrialTest, TheSearchGoesOnBehindWhatIsBroken) {
  LibrarySearch search{"a thing", {"libthing.so"}, {}, false};
  search.sonames = {"libthing.so"};
  search.symbols = {"thing_version"};
  search.program = kProgram;
  for (const char* folder : {"aborts", "crashes", "exits", "lacks_a_function", "good"}) {
    search.places.push_back({SERVOIR_FAKE_LIBRARIES + std::string(folder), folder});
  }
  for (const Judgement& accept :
       {Judgement(), Judgement([](const std::string&, const LibraryReport&) { return Status::Ok(); })}) {
    const SearchOutcome outcome = find_library(search, accept);
    EXPECT_EQ(outcome.path, library("good")) << outcome.text();
    ASSERT_EQ(outcome.tried.size(), 5U);
    EXPECT_EQ(outcome.tried[1].refusal, "crashes when it is loaded (Segmentation fault)");
  }
}

TEST_F(LibraryTrialTest, TheLoadersOwnPathsAreTriedAsWell) {
  LibrarySearch search{"libm", {"libm.so.6"}, {}, true};
  search.program = kProgram;
  const SearchOutcome outcome = find_library(search, {});
  ASSERT_TRUE(outcome.found()) << outcome.text();
  EXPECT_EQ(fs::path(outcome.path).filename(), "libm.so.6");
  EXPECT_TRUE(fs::path(outcome.path).is_absolute());
}

TEST(TrialTest, OnlyAWholeReportCounts) {
  const auto run = [](const std::string& script) {
    return run_trial({"/bin/sh", "-c", script}, std::chrono::seconds(30));
  };
  const TrialOutcome good = run(R"(printf 'a 1\0a 2 3\0b\n4\0c \0end\0' >&3)");
  EXPECT_TRUE(good.finished()) << good.failure();
  EXPECT_EQ(good.all_of("a"), (std::vector<std::string>{"1", "2 3"}));
  EXPECT_EQ(good.text_of("c"), "");
  EXPECT_EQ(good.text_of("none"), "");
  EXPECT_EQ(run(R"(printf 'a 1\0end' >&3)").failure(), "ends the process when it is loaded (exit status 0)");
  EXPECT_EQ(run(R"(printf 'a 1\0append\0' >&3)").ending, TrialOutcome::Ending::kExited);
  EXPECT_EQ(run("exit 7").number, 7);
  EXPECT_EQ(run("kill -9 $$").failure(), "is killed when it is loaded (Killed)");
  // Who has reported is not waited for.
  EXPECT_TRUE(run(R"(printf 'end\0' >&3; exec sleep 1000)").finished());
  EXPECT_EQ(run_trial({}, std::chrono::seconds(1)).ending, TrialOutcome::Ending::kNotStarted);
}

}  // namespace
}  // namespace servoir
