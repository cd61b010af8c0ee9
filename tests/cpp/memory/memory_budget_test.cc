#include "memory/memory_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace servoir {
namespace {

constexpr std::uint64_t kFree = MemoryShare::kFree;

TEST(MemoryBudgetTest, AShareIsCountedFromWhatIsFreeOn) {
  MemoryBudget budget(1'000'000);
  MemoryShare share(&budget);
  EXPECT_TRUE(share.add(kFree));
  EXPECT_EQ(budget.used(), 0U);
  EXPECT_TRUE(share.add(1));
  EXPECT_EQ(budget.used(), kFree + 1) << "now all of it counts";
  EXPECT_TRUE(share.add(99));
  EXPECT_EQ(budget.used(), kFree + 100);
  share.clear();
  EXPECT_EQ(budget.used(), 0U);
}

TEST(MemoryBudgetTest, RefusesMoreThanTheLimitAndKeepsWhatThereWas) {
  MemoryBudget budget(300'000);
  MemoryShare first(&budget);
  MemoryShare second(&budget);
  EXPECT_TRUE(first.add(200'000));
  EXPECT_FALSE(second.add(100'001));
  EXPECT_EQ(budget.used(), 200'000U);
  EXPECT_TRUE(second.add(100'000)) << "exactly the limit";
  EXPECT_FALSE(second.add(1));
  first.clear();
  EXPECT_TRUE(second.add(1));
  EXPECT_EQ(budget.used(), 100'001U);
}

TEST(MemoryBudgetTest, WhoIsAloneGetsWhatItNeeds) {
  MemoryBudget budget(100'000);
  MemoryShare alone(&budget);
  EXPECT_TRUE(alone.add(200'000));
  EXPECT_TRUE(alone.add(200'000));
  MemoryShare other(&budget);
  EXPECT_FALSE(other.add(kFree + 1));
  EXPECT_TRUE(other.add(kFree)) << "so little is free for everybody";
  EXPECT_FALSE(other.add(1));
  EXPECT_TRUE(alone.add(1)) << "nobody else holds anything";
}

TEST(MemoryBudgetTest, WhoIsAloneMayHaveALimitOfItsOwn) {
  MemoryBudget budget(100, 300);
  MemoryShare alone(&budget, 0);
  EXPECT_FALSE(alone.add(301));
  EXPECT_EQ(budget.used(), 0U);
  EXPECT_TRUE(alone.add(200));
  EXPECT_TRUE(alone.add(100));
  EXPECT_FALSE(alone.add(1));
  MemoryShare next(&budget, 0);
  EXPECT_FALSE(next.add(1));
  EXPECT_TRUE(next.add(0));
}

TEST(MemoryBudgetTest, AShareIsGivenBackAsItIsNeededLess) {
  MemoryBudget budget(100, 300);
  {
    MemoryShare share(&budget, 10);
    EXPECT_TRUE(share.add(200));
    share.keep(150);
    share.keep(180);  // it never grows by this
    EXPECT_EQ(share.held(), 150U);
    EXPECT_EQ(budget.used(), 150U);
    MemoryShare moved(std::move(share));
    EXPECT_EQ(budget.used(), 150U);
    share = std::move(moved);
    moved = MemoryShare();
    EXPECT_EQ(budget.used(), 150U);
  }
  EXPECT_EQ(budget.used(), 0U);
}

TEST(MemoryBudgetTest, AShareGivesBackWhatItHoldsAtItsEnd) {
  MemoryBudget budget(1'000'000);
  {
    MemoryShare share(&budget);
    EXPECT_TRUE(share.add(500'000));
  }
  EXPECT_EQ(budget.used(), 0U);
}

TEST(MemoryBudgetTest, ABudgetLivesAsLongAsAShareHasSomethingOfIt) {
  auto budget = std::make_shared<MemoryBudget>(1000);
  const std::weak_ptr<MemoryBudget> seen = budget;
  MemoryShare share(budget.get(), 10);
  EXPECT_TRUE(share.add(10));
  EXPECT_EQ(budget.use_count(), 1) << "so little is not counted";
  EXPECT_TRUE(share.add(500));
  budget.reset();
  ASSERT_FALSE(seen.expired());
  MemoryShare moved = std::move(share);
  EXPECT_EQ(moved.budget()->used(), 510U);
  moved.clear();
  EXPECT_TRUE(seen.expired());
}

TEST(MemoryBudgetTest, WithoutABudgetThereIsNoLimit) {
  MemoryShare share(nullptr);
  EXPECT_TRUE(share.add(UINT64_MAX / 2));
  EXPECT_TRUE(share.add(UINT64_MAX / 2));
}

TEST(MemoryBudgetTest, CountsRightForManyThreads) {
  MemoryBudget budget(8'000'000);
  std::atomic<std::uint64_t> refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        MemoryShare share(&budget);
        if (!share.add(1'000'000)) refused.fetch_add(1);
        EXPECT_LE(budget.used(), 8'000'000U + 4 * 1'000'000U);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.used(), 0U);
  EXPECT_EQ(refused.load(), 0U) << "four threads with a million each never exceed eight";
}

}  // namespace
}  // namespace servoir
