// SmallBlocks: the arena's blocks of up to kMaxSmall bytes. They are cut from runs of pages; all blocks of a run have
// the same size class. A run gives the block that came back last first, because its memory is warm.
//
// The arena calls everything here under its mutex. Most allocations do not come here, because each thread keeps blocks
// that were freed lately (block_shelves.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "memory/arena.h"
#include "memory/size_class.h"

namespace servoir {

class Trimmer;

namespace arena_internal {
struct PageRun;
}

class SmallBlocks {
 public:
  // The blocks belong to this arena. Their pages come from the trimmer.
  SmallBlocks(Arena* arena, Trimmer* pages);
  SmallBlocks(const SmallBlocks&) = delete;
  SmallBlocks& operator=(const SmallBlocks&) = delete;

  // Takes a block of this size class. Returns null if there are no pages for it.
  [[nodiscard]] Block* take(std::uint32_t size_class);
  // Whether take() would need pages.
  [[nodiscard]] bool exhausted(std::uint32_t size_class) const;
  // Gives back this block and those that are linked to it.
  void give(Block* first);
  // Gives back the pages of runs without a block in use.
  void flush();
  // What was taken and has not come back.
  [[nodiscard]] std::uint64_t bytes_out() const { return bytes_out_; }
  [[nodiscard]] std::uint64_t blocks_out() const { return blocks_out_; }

 private:
  struct SizeClass {
    arena_internal::PageRun* runs = nullptr;  // runs with free blocks
    // A run without any block in use. It is kept because a new one would often be made soon after.
    arena_internal::PageRun* spare = nullptr;
  };

  bool make_run(std::uint32_t size_class);
  void drop_run(arena_internal::PageRun* run);
  void return_to_run(Block* block);
  static void link(SizeClass* owner, arena_internal::PageRun* run);
  static void unlink(SizeClass* owner, arena_internal::PageRun* run);

  Arena* const arena_;
  Trimmer* const pages_;
  std::array<SizeClass, kSizeClasses> classes_;
  std::uint64_t bytes_out_ = 0;
  std::uint64_t blocks_out_ = 0;
};

}  // namespace servoir
