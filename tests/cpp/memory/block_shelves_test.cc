#include "memory/block_shelves.h"

#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "memory/extents.h"
#include "memory/small_blocks.h"
#include "memory/trimmer.h"

namespace servoir {
namespace {

// Blocks of 1 KiB out of runs, without an arena.
class BlockShelvesTest : public testing::Test {
 protected:
  ~BlockShelvesTest() override {
    const MutexLock lock(&mutex_);
    runs_.give(shelves_.take_all());
    runs_.flush();
  }
  Block* fresh() {
    const MutexLock lock(&mutex_);
    return runs_.take(kClass);
  }
  void to_runs(Block* first) {
    const MutexLock lock(&mutex_);
    runs_.give(first);
  }

  static constexpr std::uint64_t kBytes = 1024;
  static constexpr std::uint32_t kClass = size_class(kBytes);
  Mutex mutex_;
  Trimmer pages_{-1, 1024, &mutex_, [] {}};
  SmallBlocks runs_{nullptr, &pages_};
  BlockShelves shelves_;
};

TEST_F(BlockShelvesTest, GivesWhatTheThreadGaveLast) {
  EXPECT_EQ(shelves_.take(kClass), nullptr);
  Block* first = fresh();
  Block* second = fresh();
  EXPECT_FALSE(shelves_.give(kClass, first));
  EXPECT_FALSE(shelves_.give(kClass, second));
  EXPECT_EQ(shelves_.take(kClass + 1), nullptr);
  EXPECT_EQ(shelves_.take(kClass), second);
  EXPECT_EQ(shelves_.take(kClass), first);
  EXPECT_EQ(shelves_.take(kClass), nullptr);
  EXPECT_FALSE(shelves_.give(kClass, first));
  EXPECT_FALSE(shelves_.give(kClass, second));
}

TEST_F(BlockShelvesTest, ThreadsHaveShelvesOfTheirOwn) {
  EXPECT_FALSE(shelves_.give(kClass, fresh()));
  // Of two threads that begin one after the other, one at most shares the shelf of this thread.
  int without = 0;
  for (int i = 0; i < 2; ++i) {
    std::thread([&] {
      Block* block = shelves_.take(kClass);
      if (block == nullptr) {
        ++without;
      } else {
        EXPECT_FALSE(shelves_.give(kClass, block));
      }
    }).join();
  }
  EXPECT_GE(without, 1);
}

TEST_F(BlockShelvesTest, ReturnsTheOldestOfTooMany) {
  std::vector<Block*> given;
  do {
    ASSERT_LE(given.size(), 64U);
    given.push_back(fresh());
  } while (!shelves_.give(kClass, given.back()));
  EXPECT_EQ(shelves_.blocks(), given.size());  // until the caller takes them
  to_runs(shelves_.surplus(kClass));
  EXPECT_EQ(shelves_.surplus(kClass), nullptr);
  // What is left are the blocks that were given last.
  std::vector<Block*> left;
  while (Block* block = shelves_.take(kClass)) left.push_back(block);
  ASSERT_EQ(left.size(), 32U);
  for (Block* block : left) {
    EXPECT_EQ(block, given.back());
    given.pop_back();
  }
  EXPECT_EQ(given.size(), 33U);
  for (Block* block : left) EXPECT_FALSE(shelves_.give(kClass, block));
}

TEST_F(BlockShelvesTest, CountsOverAllThreads) {
  std::vector<Block*> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(fresh());
  Block* last = blocks.back();
  blocks.pop_back();
  EXPECT_FALSE(shelves_.give(kClass, last));
  std::thread([&] {
    for (Block* block : blocks) EXPECT_FALSE(shelves_.give(kClass, block));
    EXPECT_EQ(shelves_.blocks(), 8U);
    EXPECT_EQ(shelves_.bytes(), 8 * kBytes);
    Block* taken = shelves_.take(kClass);
    ASSERT_NE(taken, nullptr);
    EXPECT_EQ(shelves_.bytes(), 7 * kBytes);
    EXPECT_FALSE(shelves_.give(kClass, taken));
  }).join();
  to_runs(shelves_.take_all());
  EXPECT_EQ(shelves_.blocks(), 0U);
  EXPECT_EQ(shelves_.bytes(), 0U);
}

}  // namespace
}  // namespace servoir
