#include "worker/halving.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

namespace servoir {
namespace {

// A batch in which some rows are at fault, and a function that sees this at the start, or at the row itself.
struct Batch {
  std::set<std::uint32_t> guilty;
  bool row_by_row = false;
  std::uint32_t ahead = 1;  // row by row: it looks at this many rows before it gives their results
  std::vector<int> answered;
  std::set<std::uint32_t> failed;
  std::uint32_t runs = 0;

  Failed run(std::uint32_t first, std::uint32_t count) {
    ++runs;
    std::uint32_t bad = 0;
    while (bad < count && guilty.count(first + bad) == 0) ++bad;
    const std::uint32_t done = bad == count ? count : row_by_row ? bad - bad % ahead : 0;
    for (std::uint32_t row = first; row < first + done; ++row) ++answered[row];
    if (bad == count) return {};
    return {Status::Internal("row " + std::to_string(first + bad)), true, done};
  }

  void run_all(std::uint32_t rows) {
    answered.assign(rows, 0);
    run_halving(
        0, rows, [this](std::uint32_t first, std::uint32_t count) { return run(first, count); },
        [this](std::uint32_t first, std::uint32_t count, const Status&) {
          for (std::uint32_t row = first; row < first + count; ++row) EXPECT_TRUE(failed.insert(row).second);
        });
  }
};

TEST(Halving, EveryRowIsAnsweredOnceOrGuiltyWithinTheBound) {
  std::mt19937 engine(7);
  const auto below = [&](std::uint32_t end) {
    return std::uniform_int_distribution<std::uint32_t>(0, end - 1)(engine);
  };
  for (int round = 0; round < 5000; ++round) {
    const std::uint32_t rows = 1 + below(40);
    Batch batch;
    for (std::uint32_t i = below(rows + 1); i > 0; --i) batch.guilty.insert(below(rows));
    batch.row_by_row = below(2) == 0;
    batch.ahead = 1 + below(5);
    batch.run_all(rows);
    ASSERT_EQ(batch.failed, batch.guilty);
    for (std::uint32_t row = 0; row < rows; ++row) {
      ASSERT_EQ(batch.answered[row], batch.guilty.count(row) == 0 ? 1 : 0) << row << " of " << rows;
    }
    ASSERT_LE(batch.runs, 2 * rows - 1);
  }
}

TEST(Halving, OneGuiltyRowOfManyCostsFewRuns) {
  Batch batch;
  batch.guilty = {700};
  batch.run_all(1024);
  EXPECT_LE(batch.runs, 2 * 10 + 1);
}

TEST(Halving, WhatMayNotBeRunAgainFailsWhole) {
  std::vector<std::string> given_up;
  int runs = 0;
  run_halving(
      3, 5,
      [&](std::uint32_t, std::uint32_t) -> Failed {
        ++runs;
        return {Status::Internal("no"), false, 2};
      },
      [&](std::uint32_t first, std::uint32_t count, const Status& why) {
        given_up.push_back(std::to_string(first) + "+" + std::to_string(count) + " " + std::string(why.message()));
      });
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(given_up, std::vector<std::string>{"5+3 no"});
}

}  // namespace
}  // namespace servoir
