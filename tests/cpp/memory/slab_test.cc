#include "memory/slab.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace servoir {
namespace {

constexpr std::uint64_t kMiB = 1ULL << 20U;

class SlabTest : public testing::Test {
 protected:
  Place must(std::uint64_t consumer, std::uint64_t row_bytes, std::uint64_t rows, std::uint64_t batch_rows) {
    Result<Place> place = pool_.reserve({consumer, row_bytes}, rows, batch_rows);
    EXPECT_TRUE(place.ok()) << place.status().message();
    return place.ok() ? *place : Place();
  }
  // Has the consumer's slabs of this row size grown to what they come to. The next row is the first of a slab.
  void grow(std::uint64_t consumer, std::uint64_t row_bytes, std::uint64_t batch_rows) {
    std::uint64_t before = 0;
    while (true) {
      const Place first = must(consumer, row_bytes, 1, batch_rows);
      Place next = must(consumer, row_bytes, 1, batch_rows);
      while (next.block == first.block) next = must(consumer, row_bytes, 1, batch_rows);
      const std::uint64_t size = next.block->size();
      if (size == before) return;
      before = size;
    }
  }

  std::unique_ptr<Arena> arena_ = std::move(Arena::create(256 * kMiB)).value();
  SlabPool pool_{arena_.get()};
};

TEST_F(SlabTest, RowsFollowEachOther) {
  grow(1, 60, 8);
  const Place first = must(1, 60, 1, 8);
  EXPECT_EQ(first.block->offset() % 64, 0U);
  EXPECT_EQ(first.offset, first.block->offset());
  EXPECT_EQ(first.data, arena_->base() + first.offset);
  const Place second = must(1, 60, 3, 8);
  EXPECT_EQ(second.block, first.block);
  EXPECT_EQ(second.offset, first.offset + 60);
  EXPECT_EQ(second.data, first.data + 60);
  EXPECT_EQ(must(1, 60, 1, 8).offset, first.offset + 240);
}

TEST_F(SlabTest, ConsumersAndRowSizesHaveTheirOwn) {
  grow(1, 64, 8);
  const Place a = must(1, 64, 1, 8);
  const Place b = must(2, 64, 1, 8);
  const Place c = must(1, 128, 1, 8);
  EXPECT_FALSE(a.block == b.block);
  EXPECT_FALSE(a.block == c.block);
  EXPECT_EQ(must(1, 64, 1, 8).offset, a.offset + 64);
}

TEST_F(SlabTest, GrowsToAboutFourBatches) {
  std::vector<Place> rows;
  std::vector<std::uint64_t> slabs;
  for (int i = 0; i < 1 + 2 + 4 + 8 + 16 + 32 + 32; ++i) {
    rows.push_back(must(1, 1024, 1, 8));
    if (i == 0 || rows.back().block != rows[rows.size() - 2].block) slabs.push_back(rows.back().block->size() / 1024);
  }
  EXPECT_EQ(slabs, (std::vector<std::uint64_t>{1, 2, 4, 8, 16, 32, 32}));
}

TEST_F(SlabTest, RowsOfManySizesTakeWhatTheyNeed) {
  // Images in flight, each of its own size, in an arena of twice their size.
  const auto bytes_of = [](std::uint64_t i) { return 180'000 + 1000 * i; };
  std::uint64_t all = 0;
  for (std::uint64_t i = 0; i < 128; ++i) all += bytes_of(i);
  const std::unique_ptr<Arena> arena = std::move(Arena::create(2 * all)).value();
  SlabPool pool(arena.get());
  for (int wave = 0; wave < 4; ++wave) {
    std::vector<Place> images;
    for (std::uint64_t i = 0; i < 128; ++i) {
      Result<Place> place = pool.reserve({1, bytes_of(i)}, 1, 64);
      ASSERT_TRUE(place.ok()) << i << ": " << place.status().message();
      images.push_back(*std::move(place));
    }
    pool.batch_boundary(1);
  }
}

struct SizeCase {
  std::uint64_t row_bytes, rows, batch_rows, slab_rows;
};

TEST_F(SlabTest, SizesOfSlabs) {
  const std::vector<SizeCase> cases = {
      {64, 1, 16, 64},                     // four batches
      {64, 100, 16, 100},                  // the call itself needs more
      {64, 1, 0, 4},                       // a batch of 0 counts as 1
      {kMiB, 1, 2, 4},                     // 4 MiB: two batches
      {kMiB, 1, 3, 3},                     // whole batches only
      {kMiB, 1, 8, 8},                     // one batch, more than 4 MiB
      {kMiB, 1, 16, 16},                   // one batch of just 16 MiB
      {kMiB, 1, 17, 16},                   // one batch is too large: as many rows as 16 MiB hold
      {kMiB, 20, 64, 20},                  // the call itself needs more
      {20 * kMiB, 1, 64, 1},               // one row is more than that
      {5 * kMiB, 1, 1, 1},                 //
      {64, 1, ~std::uint64_t{0}, 262144},  // no overflow
  };
  std::uint64_t consumer = 0;
  for (const SizeCase& c : cases) {
    ++consumer;
    grow(consumer, c.row_bytes, c.batch_rows);
    const Place place = must(consumer, c.row_bytes, c.rows, c.batch_rows);
    EXPECT_GE(place.block->size(), c.slab_rows * c.row_bytes);
    EXPECT_LT(place.block->size(), c.slab_rows * c.row_bytes + std::max<std::uint64_t>(4096, place.block->size() / 5))
        << c.row_bytes << " " << c.rows << " " << c.batch_rows;
    pool_.forget(consumer);
  }
}

TEST_F(SlabTest, StartsAgainWhenAllRowsAreFree) {
  std::uint64_t first = 0;
  grow(1, 100, 4);
  {
    const Place a = must(1, 100, 2, 4);
    const Place b = must(1, 100, 1, 4);
    first = a.offset;
  }
  EXPECT_EQ(must(1, 100, 1, 4).offset, first);
  const Place c = must(1, 100, 1, 4);
  EXPECT_EQ(c.offset, first);
  EXPECT_EQ(must(1, 100, 1, 4).offset, first + 100);
}

TEST_F(SlabTest, BoundaryWithoutRoomForABatchStartsAnew) {
  grow(1, 100, 4);
  grow(2, 100, 4);
  const Place a = must(1, 100, 13, 4);  // 16 rows in all
  pool_.batch_boundary(1);
  const Place b = must(1, 100, 1, 4);
  EXPECT_FALSE(b.block == a.block);

  const Place c = must(2, 100, 12, 4);
  pool_.batch_boundary(2);
  EXPECT_TRUE(must(2, 100, 1, 4).block == c.block);
  pool_.batch_boundary(99);  // nobody
}

TEST_F(SlabTest, BoundaryKeepsASlabWhoseRowsAreAllFree) {
  grow(1, 100, 4);
  const std::uint64_t first = must(1, 100, 15, 4).offset;
  pool_.batch_boundary(1);
  EXPECT_EQ(must(1, 100, 4, 4).offset, first);
}

TEST_F(SlabTest, SlabsGoWithTheirLastTensor) {
  grow(1, kMiB, 4);
  Place kept = must(1, kMiB, 3, 4);
  const Place next = must(1, kMiB, 2, 4);  // the first slab is full
  EXPECT_EQ(arena_->usage().blocks, 2U);
  kept = Place();
  EXPECT_EQ(arena_->usage().blocks, 1U);
}

TEST_F(SlabTest, ForgetDropsTheOpenSlabs) {
  must(1, 64, 1, 4);
  must(1, 128, 1, 4);
  must(2, 64, 1, 4);
  EXPECT_EQ(arena_->usage().blocks, 3U);
  pool_.forget(1);
  EXPECT_EQ(arena_->usage().blocks, 1U);
  pool_.forget(1);
}

TEST_F(SlabTest, ManyRowSizesDoNotGrowMemory) {
  for (std::uint64_t bytes = 1; bytes < 3000; ++bytes) must(1, bytes, 1, 16);
  EXPECT_LE(arena_->usage().blocks, 8U);
}

TEST_F(SlabTest, NoBytesGiveAPlaceInALivingBlock) {
  const Place none = must(1, 0, 5, 4);
  EXPECT_TRUE(static_cast<bool>(none.block));
  EXPECT_EQ(none.data, arena_->base() + none.offset);
  EXPECT_TRUE(static_cast<bool>(must(1, 64, 0, 4).block));
}

TEST_F(SlabTest, OverflowAndExhaustionAreErrors) {
  EXPECT_EQ(pool_.reserve({1, 1ULL << 40U}, 1ULL << 40U, 1).status().code(), Code::kResourceExhausted);
  EXPECT_EQ(pool_.reserve({1, 300 * kMiB}, 1, 1).status().code(), Code::kResourceExhausted);
  EXPECT_TRUE(pool_.reserve({1, 64}, 1, 1).ok());
}

TEST_F(SlabTest, IdleSlabsTogetherHaveABound) {
  for (std::uint64_t consumer = 1; consumer <= 200; ++consumer) {
    for (std::uint64_t bytes = kMiB; bytes < 5 * kMiB; bytes += kMiB) grow(consumer, bytes, 16);
    ASSERT_LE(arena_->usage().in_use, 64 * kMiB + 4 * 16 * kMiB)
        << consumer;  // a quarter of 256 MiB, and what grow() holds
  }
  EXPECT_LE(arena_->usage().in_use, 64 * kMiB);
}

TEST_F(SlabTest, IdleSlabsGoBeforeAnythingIsRefused) {
  for (std::uint64_t consumer = 1; consumer <= 3; ++consumer) grow(consumer, kMiB, 16);
  EXPECT_EQ(arena_->usage().in_use, 48 * kMiB);
  EXPECT_EQ(must(4, 250 * kMiB, 1, 1).block->size(), 250 * kMiB);
  pool_.forget(4);
  for (std::uint64_t consumer = 1; consumer <= 3; ++consumer) grow(consumer, kMiB, 16);
  EXPECT_TRUE(pool_.alone(250 * kMiB).ok());
  EXPECT_EQ(arena_->usage().blocks, 0U);
}

TEST_F(SlabTest, TakesLessThanItWouldLikeRatherThanFail) {
  grow(1, kMiB, 16);
  const Place last = must(1, kMiB, 16, 16);
  std::vector<BlockRef> most;
  while (arena_->usage().in_use < 250 * kMiB) most.push_back(arena_->allocate(kMiB).value());
  EXPECT_EQ(must(1, kMiB, 1, 16).block->size(), kMiB);  // 16 MiB wanted, 6 left
}

TEST_F(SlabTest, ThreadsGetRowsOfTheirOwn) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::pair<Place, std::uint64_t>> live(32);
      for (int i = 0; i < 5'000; ++i) {
        auto& [place, mark] = live[random() % live.size()];
        if (place.block) {
          std::uint64_t found = 0;
          std::memcpy(&found, place.data, 8);
          ASSERT_EQ(found, mark);
        }
        place = must(random() % 2, 72, 1 + random() % 4, 8);
        mark = static_cast<std::uint64_t>(t) << 32U | static_cast<std::uint64_t>(i);
        std::memcpy(place.data, &mark, 8);
        if (i % 64 == 0) pool_.batch_boundary(random() % 2);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pool_.forget(0);
  pool_.forget(1);
  EXPECT_EQ(arena_->usage().blocks, 0U);
}

}  // namespace
}  // namespace servoir
