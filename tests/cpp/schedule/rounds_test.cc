#include "schedule/rounds.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace servoir {
namespace {

class RoundsTest : public ::testing::Test {
 protected:
  std::array<int, 100> senders{};  // told apart by their addresses
  Rounds rounds{4};
};

TEST_F(RoundsTest, ATurnIsSoManyInstancesOfEachRound) {
  EXPECT_EQ(rounds.join(&senders[0], 3), 0U);
  EXPECT_EQ(rounds.join(&senders[0], 1), 0U);
  EXPECT_EQ(rounds.join(&senders[0], 1), 1U);
  EXPECT_EQ(rounds.join(&senders[1], 1), 0U) << "another sender's turns are its own";
}

TEST_F(RoundsTest, ALargeRequestTakesTheTurnsOfSeveralRounds) {
  EXPECT_EQ(rounds.join(&senders[0], 10), 0U);
  EXPECT_EQ(rounds.join(&senders[0], 2), 2U);
  EXPECT_EQ(rounds.join(&senders[0], 1), 3U);
}

TEST_F(RoundsTest, WhoComesLateJoinsTheRoundThatRuns) {
  EXPECT_EQ(rounds.join(&senders[0], 40), 0U);
  rounds.began(5);
  EXPECT_EQ(rounds.join(&senders[1], 1), 5U) << "it saves no turns while it is away";
  EXPECT_EQ(rounds.join(&senders[0], 1), 10U);
  rounds.began(3);
  EXPECT_EQ(rounds.join(&senders[2], 1), 5U) << "a round that was put back does not turn time back";
}

TEST_F(RoundsTest, ARoundEndsAfterSoManyBatches) {
  for (std::uint32_t i = 0; i < Rounds::kMostBatches; ++i) {
    EXPECT_EQ(rounds.join(&senders[i], 1), 0U);
    rounds.began(0);
  }
  EXPECT_EQ(rounds.join(&senders[99], 1), 1U);
}

TEST_F(RoundsTest, ASenderOfWhomNothingWaitsIsAsIfItHadNeverBeenThere) {
  EXPECT_EQ(rounds.join(&senders[0], 9), 0U);
  rounds.leave(&senders[0], 9);
  EXPECT_EQ(rounds.join(&senders[0], 1), 0U);
}

// Else a sender whose requests end by their deadlines would fall behind the others for good.
TEST_F(RoundsTest, TurnsThatWereNotUsedAreNotLost) {
  EXPECT_EQ(rounds.join(&senders[0], 40), 0U);
  EXPECT_EQ(rounds.join(&senders[0], 2), 10U);
  rounds.leave(&senders[0], 40);
  EXPECT_EQ(rounds.join(&senders[0], 1), 1U) << "two instances wait, which is less than a turn";
  rounds.leave(&senders[0], 2);
  rounds.come_back(&senders[0], 2);
  EXPECT_EQ(rounds.join(&senders[0], 1), 1U);
}

}  // namespace
}  // namespace servoir
