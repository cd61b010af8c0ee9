#include "memory/block_shelves.h"

#include <algorithm>
#include <utility>

namespace servoir {
namespace {

// Kept on a shelf of each size class, at most.
constexpr std::uint64_t kShelfBytes = 64ULL << 10U;
constexpr std::uint64_t kShelfBlocks = 64;
constexpr std::uint64_t kRefillBytes = 16ULL << 10U;

std::uint32_t shelf_limit(std::uint32_t size_class) {
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(kShelfBytes / class_bytes(size_class), 2, kShelfBlocks));
}

}  // namespace

std::uint32_t BlockShelves::refill(std::uint32_t size_class) {
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(kRefillBytes / class_bytes(size_class), 1, kShelfBlocks / 2));
}

BlockShelves::Shelf& BlockShelves::mine() {
  static std::atomic<std::size_t> threads{0};
  thread_local const std::size_t number = threads.fetch_add(1, std::memory_order_relaxed) % kShelves;
  return shelves_[number];
}

void BlockShelves::Shelf::count(std::uint64_t more_bytes, std::uint64_t more_blocks) {
  bytes.store(bytes.load(std::memory_order_relaxed) + more_bytes, std::memory_order_relaxed);
  blocks.store(blocks.load(std::memory_order_relaxed) + more_blocks, std::memory_order_relaxed);
}

Block* BlockShelves::take(std::uint32_t size_class) {
  Shelf& shelf = mine();
  const MutexLock lock(&shelf.mutex);
  Chain& chain = shelf.chains[size_class];
  if (chain.first == nullptr) return nullptr;
  Block* block = std::exchange(chain.first, chain.first->next_free_);
  --chain.count;
  shelf.count(block->size_, 1);
  return block;
}

Block* BlockShelves::give(std::uint32_t size_class, Block* block) {
  Shelf& shelf = mine();
  const MutexLock lock(&shelf.mutex);
  Chain& chain = shelf.chains[size_class];
  block->next_free_ = std::exchange(chain.first, block);
  ++chain.count;
  shelf.count(0 - block->size_, 0 - std::uint64_t{1});
  const std::uint32_t most = shelf_limit(size_class);
  if (chain.count <= most) return nullptr;
  // The blocks that were given longest ago go.
  Block* last = chain.first;
  for (std::uint32_t kept = 1; kept < most / 2; ++kept) last = last->next_free_;
  chain.count = most / 2;
  return std::exchange(last->next_free_, nullptr);
}

void BlockShelves::put(std::uint32_t size_class, Block* block) {
  Shelf& shelf = mine();
  const MutexLock lock(&shelf.mutex);
  Chain& chain = shelf.chains[size_class];
  block->next_free_ = std::exchange(chain.first, block);
  ++chain.count;
}

Block* BlockShelves::take_all(std::uint32_t size_class) {
  Block* all = nullptr;
  for (Shelf& shelf : shelves_) {
    const MutexLock lock(&shelf.mutex);
    Block* next = std::exchange(shelf.chains[size_class], {}).first;
    while (next != nullptr) {
      Block* block = std::exchange(next, next->next_free_);
      block->next_free_ = std::exchange(all, block);
    }
  }
  return all;
}

void BlockShelves::count_used(std::uint64_t bytes) {
  Shelf& shelf = mine();
  const MutexLock lock(&shelf.mutex);
  shelf.count(bytes, 1);
}

void BlockShelves::count_unused(std::uint64_t bytes) {
  Shelf& shelf = mine();
  const MutexLock lock(&shelf.mutex);
  shelf.count(0 - bytes, 0 - std::uint64_t{1});
}

std::uint64_t BlockShelves::bytes_in_use() const {
  std::uint64_t sum = 0;
  for (const Shelf& shelf : shelves_) sum += shelf.bytes.load(std::memory_order_relaxed);
  return sum;
}

std::uint64_t BlockShelves::blocks_in_use() const {
  std::uint64_t sum = 0;
  for (const Shelf& shelf : shelves_) sum += shelf.blocks.load(std::memory_order_relaxed);
  return sum;
}

}  // namespace servoir
