#include "memory/small_blocks.h"

#include <memory>
#include <optional>
#include <utility>

#include "memory/extents.h"
#include "memory/trimmer.h"

namespace servoir {

// Consecutive pages cut into blocks of one size class.
namespace arena_internal {
struct PageRun {
  PageRange pages;
  std::uint32_t size_class = 0;
  std::uint32_t blocks_in_all = 0;
  std::uint32_t used = 0;     // blocks that are in use or on a thread's shelf
  std::uint32_t touched = 0;  // so many blocks from the first on were used at least once
  Block* free = nullptr;      // those of them that are not used now; the block that was freed last comes first
  std::unique_ptr<Block[]> blocks;
  PageRun* previous = nullptr;  // in the class's list of runs with free blocks
  PageRun* next = nullptr;
};
}  // namespace arena_internal

namespace {

using arena_internal::PageRun;

}  // namespace

SmallBlocks::SmallBlocks(Arena* arena, Trimmer* pages) : arena_(arena), pages_(pages) {}

void SmallBlocks::unlink(SizeClass* owner, PageRun* run) {
  (run->previous != nullptr ? run->previous->next : owner->runs) = run->next;
  if (run->next != nullptr) run->next->previous = run->previous;
  run->previous = run->next = nullptr;
}

void SmallBlocks::link(SizeClass* owner, PageRun* run) {
  run->next = owner->runs;
  if (run->next != nullptr) run->next->previous = run;
  owner->runs = run;
}

bool SmallBlocks::make_run(std::uint32_t size_class) {
  const std::optional<std::uint64_t> first = pages_->take(run_pages(size_class));
  if (!first.has_value()) return false;
  auto run = std::make_unique<PageRun>();
  run->pages = {*first, run_pages(size_class)};
  run->size_class = size_class;
  run->blocks_in_all = static_cast<std::uint32_t>(run->pages.count * kPage / class_bytes(size_class));
  run->blocks = std::make_unique<Block[]>(run->blocks_in_all);
  for (std::uint32_t i = 0; i < run->blocks_in_all; ++i) {
    Block& block = run->blocks[i];
    block.arena_ = arena_;
    block.offset_ = *first * kPage + i * class_bytes(size_class);
    block.size_ = class_bytes(size_class);
    block.run_ = run.get();
  }
  link(&classes_[size_class], run.release());
  return true;
}

void SmallBlocks::drop_run(PageRun* run) {
  const std::unique_ptr<PageRun> owned(run);
  pages_->give(owned->pages);
}

Block* SmallBlocks::take(std::uint32_t size_class) {
  SizeClass& owner = classes_[size_class];
  if (owner.runs == nullptr && owner.spare != nullptr) link(&owner, std::exchange(owner.spare, nullptr));
  if (owner.runs == nullptr && !make_run(size_class)) return nullptr;
  PageRun* run = owner.runs;
  Block* block = run->free;
  if (block != nullptr) {
    run->free = block->next_free_;
  } else {
    block = &run->blocks[run->touched++];
  }
  ++run->used;
  if (run->used == run->blocks_in_all) unlink(&owner, run);
  bytes_out_ += block->size_;
  ++blocks_out_;
  return block;
}

void SmallBlocks::return_to_run(Block* block) {
  PageRun* run = block->run_;
  SizeClass& owner = classes_[run->size_class];
  if (run->used == run->blocks_in_all) link(&owner, run);
  block->next_free_ = run->free;
  run->free = block;
  bytes_out_ -= block->size_;
  --blocks_out_;
  if (--run->used > 0) return;
  unlink(&owner, run);
  if (owner.spare == nullptr) {
    owner.spare = run;
  } else {
    drop_run(run);
  }
}

bool SmallBlocks::exhausted(std::uint32_t size_class) const {
  const SizeClass& owner = classes_[size_class];
  return owner.runs == nullptr && owner.spare == nullptr;
}

void SmallBlocks::give(Block* first) {
  while (first != nullptr) return_to_run(std::exchange(first, first->next_free_));
}

void SmallBlocks::flush() {
  for (SizeClass& owner : classes_) {
    if (owner.spare != nullptr) drop_run(std::exchange(owner.spare, nullptr));
  }
}

}  // namespace servoir
