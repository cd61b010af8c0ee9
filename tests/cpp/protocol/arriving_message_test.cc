#include "protocol/arriving_message.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;

TEST(ArrivingMessage, ReservesAllWhereTheBudgetAllowsIt) {
  MemoryBudget budget(100 * kMiB, 100 * kMiB);
  ArrivingMessage message(10 * kMiB, &budget);
  EXPECT_EQ(budget.used(), 0U) << "before it needs any room";
  EXPECT_EQ(message.room_for(9 * kMiB, 0), 9 * kMiB);
  EXPECT_EQ(budget.used(), 10 * kMiB);
  EXPECT_TRUE(message.may_reserve_all());
  EXPECT_EQ(budget.used(), 10 * kMiB) << "once for the whole message";
}

TEST(ArrivingMessage, GivesBackWhatHasCome) {
  MemoryBudget budget(100 * kMiB, 100 * kMiB);
  {
    ArrivingMessage message(10 * kMiB, &budget);
    ASSERT_TRUE(message.may_reserve_all());
    for (std::uint64_t come = 1; come <= 9 * 16; ++come) {
      ASSERT_TRUE(message.come(kMiB / 16).ok());
      EXPECT_EQ(message.to_come(), 10 * kMiB - come * kMiB / 16);
      EXPECT_GE(budget.used(), message.to_come());
      EXPECT_LE(budget.used(), message.to_come() + kMiB);
    }
  }
  EXPECT_EQ(budget.used(), 0U);
}

TEST(ArrivingMessage, RoomGrowsWithWhatHasComeWhereTheBudgetIsUsedUp) {
  MemoryBudget budget(kMiB, kMiB);
  MemoryShare other(&budget, 0);
  ASSERT_TRUE(other.add(kMiB));
  ArrivingMessage message(10 * kMiB, &budget);
  EXPECT_FALSE(message.may_reserve_all());
  EXPECT_EQ(message.room_for(9 * kMiB, 0), ArrivingMessage::kFreeBytes);
  EXPECT_EQ(message.room_for(9 * kMiB, kMiB), 2 * kMiB + ArrivingMessage::kFreeBytes);
  EXPECT_EQ(message.room_for(100, 0), 100U) << "no more than it is";
  other.keep(0);
  ASSERT_TRUE(message.come(9 * kMiB + kMiB / 2).ok());
  EXPECT_EQ(message.room_for(9 * kMiB, kMiB), 9 * kMiB) << "the budget has room again";
}

TEST(ArrivingMessage, HasNoMoreBytesThanWereAnnounced) {
  MemoryBudget budget(kMiB, kMiB);
  ArrivingMessage message(10, &budget);
  EXPECT_TRUE(message.come(10).ok());
  EXPECT_TRUE(message.may_reserve_all()) << "of nothing";
  const Status more = message.come(1);
  EXPECT_EQ(more.code(), Code::kInternal);
  EXPECT_EQ(more.message(), "a message gets 1 bytes more, 0 were announced");
}

}  // namespace
}  // namespace servoir
