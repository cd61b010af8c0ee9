#include "base/recycled.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace servoir {
namespace {

TEST(Recycled, BlocksOfAnySizeAreApartAndAligned) {
  std::vector<std::pair<unsigned char*, std::size_t>> blocks;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t bytes = 0; bytes < 3000; bytes += 7) {
      auto* block = static_cast<unsigned char*>(take_recycled(bytes));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % __STDCPP_DEFAULT_NEW_ALIGNMENT__, 0U);
      std::memset(block, static_cast<int>(bytes % 251), bytes);
      blocks.emplace_back(block, bytes);
    }
    for (const auto& [block, bytes] : blocks) {
      for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(block[i], bytes % 251);
      give_recycled(block, bytes);
    }
    blocks.clear();
  }
}

TEST(Recycled, ManyBlocksAreNotKept) {
  std::vector<void*> blocks;
  for (int i = 0; i < 10'000; ++i) blocks.push_back(take_recycled(512));
  for (void* block : blocks) give_recycled(block, 512);  // a leak would be seen by AddressSanitizer
}

TEST(Recycled, AThreadMayGiveBackWhatAnotherHasTaken) {
  std::vector<std::shared_ptr<int>> made;
  std::thread([&] {
    for (int i = 0; i < 100; ++i) made.push_back(std::allocate_shared<int>(Recycled<int>(), i));
  }).join();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(*made[static_cast<std::size_t>(i)], i);
  std::thread([&] { made.clear(); }).join();
}

TEST(Recycled, WhatAThreadKeepsUntilItsEndIsGivenBackThen) {
  // The vector is made before the lists, so it ends after them.
  std::thread([] {
    thread_local std::vector<std::shared_ptr<int>> late;
    late.push_back(std::allocate_shared<int>(Recycled<int>(), 1));
  }).join();
}

TEST(Recycled, AVectorGrows) {
  RecycledVector<int> numbers;
  for (int i = 0; i < 5000; ++i) numbers.push_back(i);
  EXPECT_EQ(numbers.back(), 4999);
  EXPECT_EQ(RecycledVector<int>(3, 7), (RecycledVector<int>{7, 7, 7}));
}

}  // namespace
}  // namespace servoir
