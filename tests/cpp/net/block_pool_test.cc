#include "net/block_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

namespace servoir {
namespace {

TEST(SmallBlockPoolTest, GivesABlockAgain) {
  SmallBlockPool pool;
  void* first = pool.take(100);
  pool.give(first);
  EXPECT_EQ(pool.take(90), first);  // of the same size class
  pool.give(first);
  pool.give(nullptr);
}

TEST(SmallBlockPoolTest, RefusesWhatCannotBe) {
  SmallBlockPool pool;
  EXPECT_EQ(pool.take(std::numeric_limits<std::size_t>::max()), nullptr);
}

TEST(SmallBlockPoolTest, KeepsContentsApart) {
  SmallBlockPool pool;
  std::mt19937 random(3);
  struct Block {
    unsigned char* data;
    std::size_t bytes;
    unsigned char fill;
  };
  std::vector<Block> blocks;
  const auto check = [](const Block& block) {
    for (std::size_t i = 0; i < block.bytes; ++i) ASSERT_EQ(block.data[i], block.fill);
  };
  for (int i = 0; i < 20'000; ++i) {
    const auto fill = static_cast<unsigned char>(i);
    const std::size_t bytes = random() % 4 == 0 ? random() % 20'000 : random() % 1100;
    if (blocks.size() < 200) {
      auto* data = static_cast<unsigned char*>(pool.take(bytes));
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(data) % 16, 0U);
      std::memset(data, fill, bytes);
      blocks.push_back({data, bytes, fill});
      continue;
    }
    Block& block = blocks[random() % blocks.size()];
    check(block);
    if (random() % 2 == 0) {
      block.data = static_cast<unsigned char*>(pool.resize(block.data, bytes));
      block.bytes = std::min(block.bytes, bytes);
      check(block);
      block.bytes = bytes;
      block.fill = fill;
      std::memset(block.data, fill, bytes);
    } else {
      pool.give(block.data);
      std::swap(block, blocks.back());
      blocks.pop_back();
    }
  }
  for (const Block& block : blocks) pool.give(block.data);
}

}  // namespace
}  // namespace servoir
