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

  // Takes a block from this thread's shelf, for use. Returns null if there is none.
  [[nodiscard]] Block* take(std::uint32_t size_class);
  // Puts a block that is used no more on this thread's shelf. Returns the first of the linked blocks that the shelf has
  // too much of, for the runs, or null.
  [[nodiscard]] Block* give(std::uint32_t size_class, Block* block);
  // Puts a block on this thread's shelf that comes from the runs.
  void put(std::uint32_t size_class, Block* block);
  // Takes all blocks of this size class from all shelves, for the runs. Returns the first of the linked blocks, or
  // null.
  [[nodiscard]] Block* take_all(std::uint32_t size_class);

  // Counts a block that was not taken from a shelf, or was not given to one.
  void count_used(std::uint64_t bytes);
  void count_unused(std::uint64_t bytes);
  // Exact while no thread takes or gives.
  [[nodiscard]] std::uint64_t bytes_in_use() const;
  [[nodiscard]] std::uint64_t blocks_in_use() const;

 private:
  struct Chain {
    Block* first = nullptr;  // the one that was put last
    std::uint32_t count = 0;
  };
  struct alignas(64) Shelf {
    void count(std::uint64_t more_bytes, std::uint64_t more_blocks) SERVOIR_REQUIRES(mutex);

    Mutex mutex;
    std::array<Chain, kSizeClasses> chains SERVOIR_GUARDED_BY(mutex);
    // What the threads of this shelf took less what they gave, which may be below 0: only the sum over all shelves
    // counts, and unsigned numbers add up to it all the same. Written under the mutex.
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> blocks{0};
  };
  static constexpr std::size_t kShelves = 16;

  Shelf& mine();

  std::array<Shelf, kShelves> shelves_;
};

}  // namespace servoir
