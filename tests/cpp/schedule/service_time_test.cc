#include "schedule/service_time.h"

#include <gtest/gtest.h>

#include <random>

namespace servoir {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

TEST(ServiceTime, KnowsNothingAtFirst) { EXPECT_EQ(ServiceTime().of(7), nanoseconds(0)); }

TEST(ServiceTime, FindsALine) {
  ServiceTime time;
  for (const unsigned rows : {1U, 4U, 16U, 3U, 9U}) time.saw(rows, microseconds(500 + 20 * rows));
  EXPECT_NEAR(static_cast<double>(time.of(1).count()), 520e3, 1e3);
  EXPECT_NEAR(static_cast<double>(time.of(64).count()), 1780e3, 1e3);
}

TEST(ServiceTime, FindsALineInNoise) {
  ServiceTime time;
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    const unsigned rows = 1 + random() % 32;
    time.saw(rows, microseconds(1000 + 100 * rows + random() % 200));
  }
  EXPECT_NEAR(static_cast<double>(time.of(32).count()), 4.3e6, 0.2e6);
  EXPECT_NEAR(static_cast<double>(time.of(1).count()), 1.2e6, 0.2e6);
}

TEST(ServiceTime, OfOneSizeTakesTheShortestThatAgrees) {
  ServiceTime time;
  for (int i = 0; i < 5; ++i) time.saw(8, microseconds(800));
  EXPECT_NEAR(static_cast<double>(time.of(8).count()), 800e3, 1);
  EXPECT_NEAR(static_cast<double>(time.of(2).count()), 200e3, 1);
  EXPECT_NEAR(static_cast<double>(time.of(64).count()), 800e3, 1);
}

TEST(ServiceTime, IsNeverBelowNothing) {
  ServiceTime time;
  time.saw(1, microseconds(900));
  time.saw(64, microseconds(10));
  EXPECT_GE(time.of(1), nanoseconds(0));
  EXPECT_GE(time.of(1000), nanoseconds(0));
  time.saw(5, nanoseconds(-3));
  EXPECT_GE(time.of(1), nanoseconds(0));
}

TEST(ServiceTime, ForgetsHowItWas) {
  ServiceTime time;
  time.saw(1, std::chrono::seconds(5));  // the first batch, cold
  for (int i = 0; i < 150; ++i) time.saw(1, microseconds(100));
  EXPECT_LT(time.of(1), microseconds(150 + 5'000'000 / 2000));
}

}  // namespace
}  // namespace servoir
