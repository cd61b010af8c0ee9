#include "memory/arena.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "memory/arena_view.h"
#include "memory/size_class.h"

namespace servoir {
namespace {

constexpr std::uint64_t kMiB = 1ULL << 20U;

std::unique_ptr<Arena> make(std::uint64_t limit) {
  Result<std::unique_ptr<Arena>> arena = Arena::create(limit);
  EXPECT_TRUE(arena.ok()) << arena.status().message();
  return std::move(arena).value();
}

BlockRef must(Arena* arena, std::uint64_t bytes) {
  Result<BlockRef> block = arena->allocate(bytes);
  EXPECT_TRUE(block.ok()) << block.status().message();
  return block.ok() ? *block : BlockRef();
}

// What the kernel really holds for the file.
std::uint64_t held(const Arena& arena) {
  struct stat info {};
  EXPECT_EQ(fstat(arena.fd(), &info), 0);
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

TEST(SizeClass, EverySizeFitsItsClassAndWastesAFifthAtMost) {
  for (std::uint64_t bytes = 1; bytes <= kMaxSmall; ++bytes) {
    const std::uint64_t given = class_bytes(size_class(bytes));
    ASSERT_GE(given, bytes);
    ASSERT_EQ(given % kBlockAlign, 0U);
    if (bytes > kMinSmall) {
      ASSERT_LE((given - bytes) * 5, given) << bytes;
    }
    ASSERT_TRUE(size_class(bytes) == 0 || class_bytes(size_class(bytes) - 1) < bytes) << bytes;
  }
  EXPECT_EQ(class_bytes(kSizeClasses - 1), kMaxSmall);
}

TEST(Arena, BlocksAreAlignedLargeEnoughAndApart) {
  const auto arena = make(256 * kMiB);
  std::vector<BlockRef> blocks;
  for (const std::uint64_t bytes :
       std::vector<std::uint64_t>{0, 1, 64, 256, 257, 4096, 5000, 262144, 262145, 1000000, 2 * kMiB, 40 * kMiB}) {
    blocks.push_back(must(arena.get(), bytes));
    const Block& block = *blocks.back();
    EXPECT_GE(block.size(), bytes);
    EXPECT_EQ(block.offset() % kBlockAlign, 0U);
    EXPECT_EQ(block.data(), arena->base() + block.offset());
    EXPECT_LE(block.offset() + block.size(), arena->limit());
    std::memset(block.data(), static_cast<int>(blocks.size()), block.size());
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(blocks[i]->data()[0], static_cast<std::byte>(i + 1));
    EXPECT_EQ(blocks[i]->data()[blocks[i]->size() - 1], static_cast<std::byte>(i + 1));
  }
}

TEST(Arena, UsageFollowsBlocks) {
  const auto arena = make(100 * kMiB);
  EXPECT_EQ(arena->limit(), 128 * kMiB);  // whole segments
  BlockRef a = must(arena.get(), 1000);
  BlockRef b = must(arena.get(), kMiB);
  EXPECT_EQ(arena->usage().in_use, a->size() + b->size());
  EXPECT_EQ(arena->usage().blocks, 2U);
  EXPECT_GE(arena->usage().resident, arena->usage().in_use);
  BlockRef shared = b;
  b = BlockRef();
  EXPECT_EQ(arena->usage().blocks, 2U);
  EXPECT_TRUE(shared.unique());
  const std::uint64_t peak = arena->usage().in_use;
  shared = BlockRef();
  a = BlockRef();
  EXPECT_EQ(arena->usage().in_use, 0U);
  EXPECT_EQ(arena->usage().blocks, 0U);
  EXPECT_EQ(arena->usage().peak, peak);
}

TEST(Arena, LastFreedIsFirstReused) {
  const auto arena = make(64 * kMiB);
  for (const std::uint64_t bytes : std::vector<std::uint64_t>{300, 100000, 3 * kMiB}) {
    BlockRef keep = must(arena.get(), bytes);
    BlockRef a = must(arena.get(), bytes);
    BlockRef between = must(arena.get(), bytes);
    BlockRef b = must(arena.get(), bytes);
    BlockRef after = must(arena.get(), bytes);
    const std::uint64_t offset = a->offset();
    b = BlockRef();
    a = BlockRef();
    EXPECT_EQ(must(arena.get(), bytes)->offset(), offset) << bytes;
  }
}

TEST(Arena, AtTheLimitItSaysWhatIsWrongAndGoesOnAfterwards) {
  const auto arena = make(32 * kMiB);
  const Status huge = arena->allocate(33 * kMiB).status();
  EXPECT_EQ(huge.code(), Code::kResourceExhausted);
  EXPECT_NE(huge.message().find("34603008 bytes"), std::string::npos) << huge.message();
  EXPECT_EQ(arena->allocate(~std::uint64_t{0}).status().code(), Code::kResourceExhausted);

  BlockRef most = must(arena.get(), 30 * kMiB);
  const Status second = arena->allocate(3 * kMiB).status();
  EXPECT_EQ(second.code(), Code::kResourceExhausted);
  EXPECT_NE(second.message().find(std::to_string(30 * kMiB) + " of " + std::to_string(32 * kMiB)), std::string::npos)
      << second.message();
  most = BlockRef();
  EXPECT_TRUE(arena->allocate(32 * kMiB).ok());
}

TEST(Arena, SmallBlocksFillItToTheLastAndGiveAllBack) {
  const auto arena = make(32 * kMiB);
  std::vector<BlockRef> blocks;
  while (true) {
    Result<BlockRef> block = arena->allocate(256);
    if (!block.ok()) break;
    blocks.push_back(std::move(block).value());
  }
  EXPECT_EQ(blocks.size(), 32 * kMiB / 256);
  blocks.clear();
  // The pages kept at hand for 256-byte blocks are given to whoever needs them.
  EXPECT_TRUE(arena->allocate(32 * kMiB).ok());
}

TEST(Arena, FreedNeighboursJoin) {
  const auto arena = make(64 * kMiB);
  std::vector<BlockRef> blocks;
  for (int i = 0; i < 64; ++i) blocks.push_back(must(arena.get(), kMiB));
  EXPECT_FALSE(arena->allocate(kMiB).ok());
  std::mt19937 random(1);
  std::shuffle(blocks.begin(), blocks.end(), random);
  blocks.clear();
  EXPECT_TRUE(arena->allocate(64 * kMiB).ok());
}

TEST(Arena, RandomSizesStayBoundedIntactAndJoinAgain) {
  constexpr std::uint64_t kLive = 96 * kMiB;
  const auto arena = make(1024 * kMiB);
  std::mt19937_64 random(7);
  struct Live {
    BlockRef block;
    std::uint64_t mark;
  };
  std::vector<Live> live;
  std::uint64_t bytes_live = 0;
  std::uint64_t most_resident = 0;
  auto mark_at = [](const Live& entry, std::uint64_t at) {
    std::uint64_t value = 0;
    std::memcpy(&value, entry.block->data() + at, sizeof(value));
    return value;
  };
  for (int i = 0; i < 100'000; ++i) {
    // Sizes over five orders of magnitude, each order equally often.
    const std::uint64_t scale = 1ULL << (random() % 15 + 6);
    const std::uint64_t bytes = 8 + random() % (2 * scale);
    while (bytes_live + bytes > kLive || (!live.empty() && random() % 3 == 0)) {
      const std::size_t victim = random() % live.size();
      ASSERT_EQ(mark_at(live[victim], 0), live[victim].mark);
      ASSERT_EQ(mark_at(live[victim], live[victim].block->size() - 8), live[victim].mark);
      bytes_live -= live[victim].block->size();
      live[victim] = std::move(live.back());
      live.pop_back();
    }
    Live entry{must(arena.get(), bytes), random()};
    std::memcpy(entry.block->data(), &entry.mark, 8);
    std::memcpy(entry.block->data() + entry.block->size() - 8, &entry.mark, 8);
    bytes_live += entry.block->size();
    live.push_back(std::move(entry));
    if (i % 64 == 0) most_resident = std::max(most_resident, arena->usage().resident);
  }
  EXPECT_EQ(arena->usage().in_use, bytes_live);
  EXPECT_LT(most_resident, 2 * kLive);
  EXPECT_LE(held(*arena), arena->usage().resident);
  live.clear();
  EXPECT_EQ(arena->usage().in_use, 0U);
  EXPECT_TRUE(arena->allocate(1024 * kMiB).ok());
}

TEST(Arena, TrimGivesFreeMemoryBackAndKeepsWhatIsInUse) {
  const auto arena = make(256 * kMiB);
  BlockRef kept = must(arena.get(), 5000);
  std::memset(kept->data(), 7, 5000);
  {
    BlockRef spike = must(arena.get(), 100 * kMiB);
    std::memset(spike->data(), 1, spike->size());
    EXPECT_GE(held(*arena), 100 * kMiB);
  }
  arena->trim();
  EXPECT_LT(held(*arena), kMiB);
  EXPECT_LT(arena->usage().resident, kMiB);
  EXPECT_EQ(kept->data()[4999], std::byte{7});
  // What comes back is zeroed memory of the kernel, and usable.
  BlockRef again = must(arena.get(), 100 * kMiB);
  EXPECT_EQ(again->data()[50 * kMiB], std::byte{0});
}

TEST(Arena, ASpikeIsForgottenByItself) {
  const auto arena = make(512 * kMiB);
  {
    BlockRef spike = must(arena.get(), 300 * kMiB);
    for (std::uint64_t at = 0; at < spike->size(); at += 4096) spike->data()[at] = std::byte{1};
  }
  EXPECT_GE(held(*arena), 300 * kMiB);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  // The accounts follow what the kernel has done.
  auto forgotten = [&] { return held(*arena) <= 70 * kMiB && arena->usage().resident <= 70 * kMiB; };
  while (!forgotten() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(forgotten()) << held(*arena) << " " << arena->usage().resident;
}

TEST(Arena, ThreadsShareIt) {
  const auto arena = make(256 * kMiB);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&arena, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<BlockRef> live(64);
      for (int i = 0; i < 5'000; ++i) {
        BlockRef& slot = live[random() % live.size()];
        if (slot) {
          ASSERT_EQ(slot->data()[0], static_cast<std::byte>(t));
          ASSERT_EQ(slot->data()[slot->size() - 1], static_cast<std::byte>(t));
        }
        slot = must(arena.get(), random() % (random() % 16 == 0 ? 1'000'000U : 5'000U));
        slot->data()[0] = static_cast<std::byte>(t);
        slot->data()[slot->size() - 1] = static_cast<std::byte>(t);
        if (i % 512 == 0) arena->trim();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(arena->usage().blocks, 0U);
}

TEST(Arena, WhatAThreadKeepsAtHandIsGivenToAnyWhoNeedsIt) {
  const auto arena = make(32 * kMiB);
  for (int t = 0; t < 40; ++t) {
    std::thread([&arena] {
      std::vector<BlockRef> blocks;
      for (const std::uint64_t bytes : {200U, 3'000U, 40'000U, 250'000U}) {
        for (int i = 0; i < 3; ++i) blocks.push_back(must(arena.get(), bytes));
      }
    }).join();
  }
  EXPECT_EQ(arena->usage().in_use, 0U);
  EXPECT_TRUE(arena->allocate(32 * kMiB).ok());
}

// Blocks that any thread may take or give, so most go back to another shelf than they came from.
struct Slots {
  struct Slot {
    Mutex mutex;
    BlockRef block SERVOIR_GUARDED_BY(mutex);
  };
  std::array<Slot, 8> slots;

  // Runs threads that fill and empty the slots by turns. Returns how many times there was no room.
  int pass_around(Arena* arena, std::uint64_t bytes) {
    std::atomic<int> refused{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < slots.size(); ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        for (int i = 0; i < 200'000; ++i) {
          Slot& slot = slots[random() % slots.size()];
          const MutexLock lock(&slot.mutex);
          if (slot.block) {
            slot.block = BlockRef();
            continue;
          }
          Result<BlockRef> block = arena->allocate(bytes);
          if (!block.ok()) ++refused;
          if (block.ok()) slot.block = std::move(block).value();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return refused;
  }
};

TEST(Arena, GivesAThreadWhatTheOthersLeaveWhileTheyTakeAndGive) {
  const auto arena = make(32 * kMiB);
  Slots slots;
  std::vector<BlockRef> rest;
  while (rest.size() < 32 * kMiB / kMaxSmall - slots.slots.size()) rest.push_back(must(arena.get(), kMaxSmall));
  EXPECT_EQ(slots.pass_around(arena.get(), kMaxSmall), 0);
}

TEST(Arena, UsageIsNeverBelowNothingNorAboveWhatThereIs) {
  const auto arena = make(32 * kMiB);
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) {
      const ArenaUsage usage = arena->usage();
      EXPECT_LE(usage.in_use, usage.resident);
      EXPECT_LE(usage.peak, arena->limit());
      EXPECT_LE(usage.blocks, arena->limit() / kMinSmall);
      if (testing::Test::HasFailure()) return;
    }
  });
  EXPECT_EQ(Slots().pass_around(arena.get(), 1024), 0);
  done = true;
  reader.join();
  EXPECT_EQ(arena->usage().in_use, 0U);
}

TEST(Arena, ThePeakOfSmallBlocksIsSeenToWithinWhatAThreadKeeps) {
  const auto arena = make(32 * kMiB);
  std::vector<BlockRef> blocks;
  for (int i = 0; i < 1'000; ++i) blocks.push_back(must(arena.get(), 1024));
  blocks.clear();
  EXPECT_GE(arena->usage().peak, 1'000U * 1024 - 64 * 1024);
  EXPECT_LE(arena->usage().peak, 1'000U * 1024);
}

TEST(Arena, SharesMayGoOnAnyThread) {
  const auto arena = make(32 * kMiB);
  BlockRef block = must(arena.get(), 1000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([block] {
      for (int i = 0; i < 10'000; ++i) {
        const BlockRef copy = block;
        ASSERT_TRUE(copy == block);
      }
    });
  }
  block = BlockRef();
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  EXPECT_EQ(arena->usage().blocks, 0U);
}

TEST(Arena, LimitsThatCannotBe) {
  EXPECT_EQ(Arena::create(0).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Arena::create(~std::uint64_t{0}).status().code(), Code::kInvalidArgument);
}

TEST(Arena, NobodyCanCutTheFile) {
  const auto arena = make(32 * kMiB);
  EXPECT_NE(ftruncate(arena->fd(), 4096), 0);
  EXPECT_NE(fcntl(arena->fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(ArenaView, SeesTheSameMemoryAndChecksRanges) {
  const auto arena = make(32 * kMiB);
  BlockRef block = must(arena.get(), 100);
  block->data()[3] = std::byte{42};
  Result<ArenaView> made = ArenaView::map(arena->fd());
  ASSERT_TRUE(made.ok());
  ArenaView view = std::move(made).value();
  Result<std::byte*> bytes = view.resolve(block->offset(), 100);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ((*bytes)[3], std::byte{42});
  EXPECT_TRUE(view.resolve(arena->limit(), 0).ok());
  for (const auto& [offset, count] : {std::pair{arena->limit() - 7, std::uint64_t{8}},
                                      {arena->limit() + 1, std::uint64_t{0}},
                                      {~std::uint64_t{0}, std::uint64_t{2}},
                                      {std::uint64_t{2}, ~std::uint64_t{0}}}) {
    EXPECT_EQ(view.resolve(offset, count).status().code(), Code::kInternal);
  }
}

TEST(ArenaView, RefusesWhatIsNoArena) {
  const UniqueFd empty(memfd_create("empty", MFD_CLOEXEC));
  EXPECT_EQ(ArenaView::map(empty.get()).status().code(), Code::kFailedPrecondition);
  EXPECT_FALSE(ArenaView::map(-1).ok());
}

}  // namespace
}  // namespace servoir
