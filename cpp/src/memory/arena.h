// Arena: the shared memory in which every tensor on the server lives.
//
// The arena is one memfd, as large as the limit and mapped once. The file is sparse, so only pages that were touched
// cost memory. Inside the file the arena grows segment by segment. A thread of the arena gives memory that stays free
// back to the kernel by punching holes, and sleeps when there is none. Only the server allocates and frees: any of its
// threads may call allocate() and drop BlockRefs. Blocks of up to kMaxSmall bytes mostly come from and go to what each
// thread keeps at hand (block_shelves.h); all others take the arena's mutex. A worker maps the same file (arena_view.h)
// and gets offsets.
//
// A Block is a single allocation with a reference count; its memory is freed when the last BlockRef goes. Blocks are
// aligned to kBlockAlign bytes. The block that a thread freed last is reused first, because its memory is warm.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"
#include "memory/size_class.h"

namespace servoir {

class Arena;

namespace arena_internal {
struct PageRun;
}

class Block {
 public:
  [[nodiscard]] std::uint64_t offset() const { return offset_; }  // from the start of the arena
  [[nodiscard]] std::uint64_t size() const { return size_; }      // at least what was asked for
  [[nodiscard]] std::byte* data() const;
  [[nodiscard]] Arena* arena() const { return arena_; }

 private:
  friend class Arena;
  friend class BlockRef;
  friend class BlockShelves;
  friend class SmallBlocks;
  Arena* arena_ = nullptr;
  std::uint64_t offset_ = 0;
  std::uint64_t size_ = 0;
  arena_internal::PageRun* run_ = nullptr;  // the run it was carved from; null if it has pages of its own
  Block* next_free_ = nullptr;              // while it is not in use
  std::atomic<std::uint32_t> refs_{0};
};

// A counted reference; null by default. Copying is thread-safe as with shared_ptr.
class BlockRef {
 public:
  BlockRef() = default;
  BlockRef(const BlockRef& other) : block_(other.block_) {
    if (block_ != nullptr) block_->refs_.fetch_add(1, std::memory_order_relaxed);
  }
  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~BlockRef() {
    if (block_ != nullptr && block_->refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) release(block_);
  }

  explicit operator bool() const { return block_ != nullptr; }
  Block* operator->() const { return block_; }
  Block& operator*() const { return *block_; }
  [[nodiscard]] Block* get() const { return block_; }
  // Whether this is the only reference. This is exact only while no other thread can copy another reference.
  [[nodiscard]] bool unique() const { return block_ != nullptr && block_->refs_.load(std::memory_order_acquire) == 1; }
  bool operator==(const BlockRef&) const = default;

 private:
  friend class Arena;
  explicit BlockRef(Block* block) : block_(block) { block_->refs_.store(1, std::memory_order_relaxed); }
  static void release(Block* block);
  Block* block_ = nullptr;
};

struct ArenaUsage {
  std::uint64_t limit = 0;     // bytes
  std::uint64_t in_use = 0;    // bytes in living blocks
  std::uint64_t resident = 0;  // bytes that the kernel holds at most: those in use, and free ones that are kept warm
  std::uint64_t peak = 0;      // largest in_use that was seen; what threads keep at hand may have been used beyond it
  std::uint64_t blocks = 0;    // living blocks
};

class Arena {
 public:
  // `limit` in bytes, rounded up to a segment.
  static Result<std::unique_ptr<Arena>> create(std::uint64_t limit);
  ~Arena();  // no BlockRef may be left
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Returns ResourceExhausted if there is no room; the text names the size, the use and the limit.
  [[nodiscard]] Result<BlockRef> allocate(std::uint64_t bytes);
  [[nodiscard]] ArenaUsage usage() const;
  // Gives all free memory back to the kernel at once, rather than after some seconds.
  void trim();
  [[nodiscard]] int fd() const;
  [[nodiscard]] std::byte* base() const;
  [[nodiscard]] std::uint64_t limit() const;

 private:
  friend class BlockRef;
  struct Impl;
  Arena(UniqueFd file, std::byte* memory, std::uint64_t bytes);
  void free(Block* block);
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
