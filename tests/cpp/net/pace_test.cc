#include "net/pace.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

TEST(PaceTest, AByteNowAndThenIsProgressOnlyWhereNoMoreIsAskedFor) {
  Pace pace;
  pace.restart(10);
  pace.count(1, 15);
  EXPECT_EQ(pace.silent(17), 2U);
  pace.restart(20, 100);
  for (std::uint32_t sweep = 20; sweep < 29; ++sweep) pace.count(10, sweep);
  EXPECT_EQ(pace.silent(29), 9U);
  EXPECT_EQ(pace.recent(), 90U);
  pace.count(10, 29);
  EXPECT_EQ(pace.silent(30), 1U);
  EXPECT_EQ(pace.recent(), 0U);
  EXPECT_EQ(pace.least(), 100U) << "in the next time-out as well";
}

TEST(PaceTest, AsksForAHundredthOfWhatIsLarge) {
  EXPECT_EQ(Pace::least_of(0), Pace::kLeastBytes);
  EXPECT_EQ(Pace::least_of(6'553'600), Pace::kLeastBytes);
  EXPECT_EQ(Pace::least_of(10'000'000), 100'000U);
}

}  // namespace
}  // namespace servoir
