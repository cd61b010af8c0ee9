#include "memory/extents.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace servoir {
namespace {

TEST(Extents, OpensSegmentsAsNeeded) {
  Extents extents(100, 10);
  EXPECT_EQ(extents.take(3), 0U);
  EXPECT_EQ(extents.take(3), 3U);
  EXPECT_EQ(extents.take(8), 6U);  // the end of the first segment and the start of the second
  EXPECT_EQ(extents.take(25), 14U);
  EXPECT_EQ(extents.resident(), 39U);
  EXPECT_EQ(extents.free_resident(), 0U);
  EXPECT_EQ(extents.take(62), std::nullopt);
  EXPECT_EQ(extents.take(61), 39U);
  EXPECT_EQ(extents.take(1), std::nullopt);
}

TEST(Extents, RefusesNothingAndTooMuch) {
  Extents extents(100, 30);
  EXPECT_EQ(extents.take(0), std::nullopt);
  EXPECT_EQ(extents.take(101), std::nullopt);
  EXPECT_EQ(extents.take(~std::uint64_t{0}), std::nullopt);
  EXPECT_EQ(extents.take(100), 0U);  // segments that do not divide the whole
}

TEST(Extents, JoinsOnBothSides) {
  Extents extents(64, 64);
  for (std::uint64_t i = 0; i < 8; ++i) ASSERT_EQ(extents.take(8), i * 8);
  extents.give({0, 8});
  extents.give({16, 8});
  EXPECT_EQ(extents.free_ranges(), 2U);
  extents.give({8, 8});
  EXPECT_EQ(extents.free_ranges(), 1U);
  EXPECT_EQ(extents.take(24), 0U);
}

TEST(Extents, LastFreedFirstUsed) {
  Extents extents(64, 64);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(extents.take(8).has_value());
  extents.give({8, 8});
  extents.give({40, 8});
  extents.give({24, 8});
  EXPECT_EQ(extents.take(8), 24U);
  EXPECT_EQ(extents.take(8), 40U);
  EXPECT_EQ(extents.take(8), 8U);
}

TEST(Extents, ResidentBeforeCold) {
  Extents extents(64, 16);
  ASSERT_EQ(extents.take(16), 0U);
  ASSERT_EQ(extents.take(16), 16U);
  ASSERT_EQ(extents.take(16), 32U);
  extents.give({32, 16});
  extents.give({0, 16});
  const std::optional<PageRange> out = extents.take_for_release(100);
  EXPECT_EQ(out, (PageRange{32, 16}));  // the one freed longest ago
  extents.give_cold(*out);
  EXPECT_EQ(extents.resident(), 32U);
  EXPECT_EQ(extents.free_resident(), 16U);
  EXPECT_EQ(extents.take(16), 0U);
  EXPECT_EQ(extents.resident(), 32U);
  EXPECT_EQ(extents.take(16), 32U);
  EXPECT_EQ(extents.resident(), 48U);
}

TEST(Extents, ReleaseSkipsWhatIsColdAlreadyAndKeepsToTheMost) {
  Extents extents(512, 512);
  ASSERT_EQ(extents.take(300), 0U);
  extents.give({0, 300});
  std::optional<PageRange> out = extents.take_for_release(100);
  ASSERT_EQ(out, (PageRange{0, 100}));
  extents.give_cold(*out);
  EXPECT_EQ(extents.free_ranges(), 1U);
  out = extents.take_for_release(150);
  ASSERT_EQ(out, (PageRange{100, 150}));
  extents.give(*out);  // the kernel did not take it
  EXPECT_EQ(extents.free_resident(), 200U);
  while ((out = extents.take_for_release(100)).has_value()) extents.give_cold(*out);
  EXPECT_EQ(extents.resident(), 0U);
  EXPECT_EQ(extents.take(512), 0U);
}

TEST(Extents, WhatIsOutForReleaseIsNotGivenToAnybody) {
  Extents extents(16, 16);
  ASSERT_EQ(extents.take(16), 0U);
  extents.give({0, 16});
  const std::optional<PageRange> out = extents.take_for_release(12);
  ASSERT_EQ(out, (PageRange{0, 12}));
  EXPECT_EQ(extents.take(5), std::nullopt);
  EXPECT_EQ(extents.take(4), 12U);
  extents.give_cold(*out);
  EXPECT_EQ(extents.take(12), 0U);
}

// Against a model: a flag for each page.
TEST(Extents, RandomUseAgreesWithAModel) {
  constexpr std::uint64_t kPages = 1000;
  Extents extents(kPages, 64);
  std::vector<bool> taken(kPages);
  std::vector<bool> resident(kPages);
  std::vector<PageRange> live;
  std::mt19937_64 random(3);
  auto longest_free = [&] {
    std::uint64_t longest = 0;
    std::uint64_t run = 0;
    for (const bool page : taken) longest = std::max(longest, run = page ? 0 : run + 1);
    return longest;
  };
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t choice = random() % 8;
    if (choice < 4) {
      const std::uint64_t count = 1 + random() % (random() % 8 == 0 ? 200 : 20);
      const std::optional<std::uint64_t> first = extents.take(count);
      ASSERT_EQ(first.has_value(), longest_free() >= count);
      if (!first.has_value()) continue;
      for (std::uint64_t page = *first; page < *first + count; ++page) {
        ASSERT_FALSE(taken[page]);
        taken[page] = resident[page] = true;
      }
      live.push_back({*first, count});
    } else if (choice < 7) {
      if (live.empty()) continue;
      std::swap(live[random() % live.size()], live.back());
      extents.give(live.back());
      for (std::uint64_t i = 0; i < live.back().count; ++i) taken[live.back().first + i] = false;
      live.pop_back();
    } else if (const std::optional<PageRange> out = extents.take_for_release(1 + random() % 40)) {
      ASSERT_TRUE(resident[out->first]);
      for (std::uint64_t page = out->first; page < out->first + out->count; ++page) {
        ASSERT_FALSE(taken[page]);
        resident[page] = false;
      }
      extents.give_cold(*out);
    }
    ASSERT_EQ(extents.resident(), static_cast<std::uint64_t>(std::count(resident.begin(), resident.end(), true)));
    std::uint64_t free_resident = 0;
    for (std::uint64_t page = 0; page < kPages; ++page) free_resident += resident[page] && !taken[page] ? 1 : 0;
    ASSERT_EQ(extents.free_resident(), free_resident);
  }
}

}  // namespace
}  // namespace servoir
