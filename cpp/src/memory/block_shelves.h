// BlockShelves: the arena's small blocks that were freed lately, kept at hand for each thread.
//
// A thread takes from its own shelf the block that it freed last, so warm memory is used, and threads that serve
// different models meet in no mutex. What a shelf lacks, or has too much of, moves from and to the runs of pages
// (small_blocks.h) by several blocks at a time. There are as many shelves as kShelves; a thread has one by its number,
// so more threads than that share, and what a thread leaves at its end is used by another.
//
// Any thread may call. The mutex of a shelf is taken after the arena's, never before.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/mutex.h"
#include "memory/arena.h"
#include "memory/size_class.h"

namespace servoir {

class BlockShelves {
 public:
  BlockShelves() = default;
  BlockShelves(const BlockShelves&) = delete;
  BlockShelves& operator=(const BlockShelves&) = delete;

  // How many blocks of a size class come from the runs at once: several small ones, because a thread that takes one
  // takes more, but no memory to speak of for a size that comes only once.
  [[nodiscard]] static std::uint32_t refill(std::uint32_t size_class);

  // Takes a block from this thread's shelf. Returns null if there is none.
  [[nodiscard]] Block* take(std::uint32_t size_class);
  // Puts a block on this thread's shelf. Returns whether the shelf has too many now, which stay there until surplus().
  [[nodiscard]] bool give(std::uint32_t size_class, Block* block);
  // Takes from this thread's shelf what it has too much of. Returns the first of the linked blocks, or null. The caller
  // holds the mutex under which the runs are used until the blocks are there, so that take_all() misses none.
  [[nodiscard]] Block* surplus(std::uint32_t size_class);
  // Takes all blocks from all shelves at one moment, for the runs. Returns the first of the linked blocks, or null.
  [[nodiscard]] Block* take_all() SERVOIR_NO_THREAD_SAFETY_ANALYSIS;  // clang does not follow locks in a loop

  // What lies on the shelves. While threads take and give, what goes from one shelf to another may count twice or not
  // at all.
  [[nodiscard]] std::uint64_t bytes() const;
  [[nodiscard]] std::uint64_t blocks() const;

 private:
  struct Chain {
    Block* first = nullptr;  // the one that was put last
    std::uint32_t count = 0;
  };
  struct alignas(64) Shelf {
    Mutex mutex;
    std::array<Chain, kSizeClasses> chains SERVOIR_GUARDED_BY(mutex);
    // Written under the mutex.
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> blocks{0};

    void add(std::uint64_t more_bytes, std::uint64_t more_blocks) SERVOIR_REQUIRES(mutex);
  };
  static constexpr std::size_t kShelves = 16;

  Shelf& mine();

  std::array<Shelf, kShelves> shelves_;
};

}  // namespace servoir
