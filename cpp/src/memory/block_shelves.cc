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

void BlockShelves::Shelf::add(std::uint64_t more_bytes, std::uint64_t more_blocks) {
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
  shelf.add(0 - block->size_, 0 - std::uint64_t{1});
  return block;
}

bool BlockShelves::give(std::uint32_t size_class, Block* block) {
  Shelf& shelf = mine();
  const MutexLock lock(&shelf.mutex);
  Chain& chain = shelf.chains[size_class];
  block->next_free_ = std::exchange(chain.first, block);
  ++chain.count;
  shelf.add(block->size_, 1);
  return chain.count > shelf_limit(size_class);
}

Block* BlockShelves::surplus(std::uint32_t size_class) {
  Shelf& shelf = mine();
  const MutexLock lock(&shelf.mutex);
  Chain& chain = shelf.chains[size_class];
  const std::uint32_t most = shelf_limit(size_class);
  if (chain.count <= most) return nullptr;  // another thread of this shelf was here meanwhile
  // The blocks that were given longest ago go.
  Block* last = chain.first;
  for (std::uint32_t kept = 1; kept < most / 2; ++kept) last = last->next_free_;
  const std::uint64_t going = std::exchange(chain.count, most / 2) - most / 2;
  shelf.add(0 - going * last->size_, 0 - going);
  return std::exchange(last->next_free_, nullptr);
}

Block* BlockShelves::take_all() {
  for (Shelf& shelf : shelves_) shelf.mutex.lock();
  Block* all = nullptr;
  for (Shelf& shelf : shelves_) {
    for (Chain& chain : shelf.chains) {
      Block* next = std::exchange(chain, {}).first;
      while (next != nullptr) {
        Block* block = std::exchange(next, next->next_free_);
        block->next_free_ = std::exchange(all, block);
      }
    }
    shelf.bytes.store(0, std::memory_order_relaxed);
    shelf.blocks.store(0, std::memory_order_relaxed);
  }
  for (Shelf& shelf : shelves_) shelf.mutex.unlock();
  return all;
}

std::uint64_t BlockShelves::bytes() const {
  std::uint64_t sum = 0;
  for (const Shelf& shelf : shelves_) sum += shelf.bytes.load(std::memory_order_relaxed);
  return sum;
}

std::uint64_t BlockShelves::blocks() const {
  std::uint64_t sum = 0;
  for (const Shelf& shelf : shelves_) sum += shelf.blocks.load(std::memory_order_relaxed);
  return sum;
}

}  // namespace servoir
