// SmallBlocks: the arena's blocks of up to kMaxSmall bytes. They are cut from runs of pages; all blocks of a run have
// the same size class.
//
// Each class keeps the blocks that were freed lately, and uses the block that was freed last first. So warm memory is
// used, and most allocations touch only this list. The arena calls everything here under its mutex.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

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
  void give(Block* block);
  // Gives back the pages that no block in use needs.
  void flush();

 private:
  struct SizeClass {
    std::vector<Block*> recent;               // free blocks; the block that was freed last is at the end
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
};

}  // namespace servoir
