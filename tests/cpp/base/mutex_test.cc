#include "base/mutex.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace servoir {
namespace {

struct Counted {
  Mutex mutex;
  CondVar changed;
  std::uint64_t number SERVOIR_GUARDED_BY(mutex) = 0;
};

TEST(MutexTest, ThreadsTakeTurns) {
  Counted counted;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&counted] {
      for (int k = 0; k < 10000; ++k) {
        const MutexLock lock(&counted.mutex);
        ++counted.number;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const MutexLock lock(&counted.mutex);
  EXPECT_EQ(counted.number, 40000U);
}

TEST(MutexTest, ALockCanBeGivenBackBeforeItsEndAndTakenAgain) {
  Counted counted;
  {
    MutexLock lock(&counted.mutex);
    counted.number = 1;
    lock.unlock();
    std::thread([&counted] {
      const MutexLock inner(&counted.mutex);
      counted.number = 2;
    }).join();
    lock.lock();
    EXPECT_EQ(counted.number, 2U);
    lock.unlock();
  }
  const MutexLock lock(&counted.mutex);  // what was given back is not given back once more
  EXPECT_EQ(counted.number, 2U);
}

TEST(CondVarTest, AWaitGivesTheMutexBackAndHoldsItAfterwards) {
  Counted counted;
  std::thread other;
  {
    const MutexLock lock(&counted.mutex);
    other = std::thread([&counted] {
      const MutexLock inner(&counted.mutex);
      counted.number = 7;
      counted.changed.notify_all();
    });
    while (counted.number == 0) counted.changed.wait(&counted.mutex);
    EXPECT_EQ(counted.number, 7U);
  }
  other.join();
}

TEST(CondVarTest, AWaitEndsAtItsTime) {
  Counted counted;
  const MutexLock lock(&counted.mutex);
  const auto time = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
  while (counted.changed.wait_until(&counted.mutex, time)) {
  }
  EXPECT_GE(std::chrono::steady_clock::now(), time);
}

}  // namespace
}  // namespace servoir
