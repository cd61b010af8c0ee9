// Arena: the shared memory in which every tensor on the server lives.
//
// One memfd, as large as the limit and mapped once; the file is sparse, so only what was touched costs memory. Inside
// it the arena grows segment by segment. Memory that stays free is given back to the kernel (hole punching) by a thread
// of the arena's own, which sleeps unless there is some. Only the server allocates and frees: any of its threads may
// call allocate() and drop BlockRefs (one mutex inside). A worker maps the same file with ArenaView, and gets offsets.
//
// A Block is one allocation with a reference count; the last BlockRef to go gives its memory back. Blocks are aligned
// to kBlockAlign bytes. Freed blocks are reused last-in first-out, so that warm memory is used first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"

namespace servoir {

class Arena;

inline constexpr std::uint64_t kBlockAlign = 64;

namespace arena_internal {
struct Run;
}

class Block {
 public:
  [[nodiscard]] std::uint64_t offset() const { return offset_; }  // from the start of the arena
  [[nodiscard]] std::uint64_t size() const { return size_; }      // at least what was asked for
  [[nodiscard]] std::byte* data() const;

 private:
  friend class Arena;
  friend class BlockRef;
  Arena* arena_ = nullptr;
  std::uint64_t offset_ = 0;
  std::uint64_t size_ = 0;
  arena_internal::Run* run_ = nullptr;  // that it was carved from; null for one with pages of its own
  Block* next_free_ = nullptr;
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
  // Whether this is the only reference (a snapshot: exact only when nobody else can copy from another reference).
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
  std::uint64_t resident = 0;  // bytes that the kernel holds for us, at most (in use, or free and kept warm)
  std::uint64_t peak = 0;      // largest in_use so far
  std::uint64_t blocks = 0;    // living blocks
};

class Arena {
 public:
  // `limit` in bytes, rounded up to a segment.
  static Result<std::unique_ptr<Arena>> create(std::uint64_t limit);
  ~Arena();  // no BlockRef may be left
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // ResourceExhausted, naming the size, what is in use and the limit, when it does not fit.
  [[nodiscard]] Result<BlockRef> allocate(std::uint64_t bytes);
  [[nodiscard]] ArenaUsage usage() const;
  // Gives all free memory back to the kernel at once. (What stays free for some seconds is given back by itself.)
  void trim();
  [[nodiscard]] int fd() const;
  [[nodiscard]] std::byte* base() const;
  [[nodiscard]] std::uint64_t limit() const;

 private:
  friend class BlockRef;
  struct Impl;
  explicit Arena(std::unique_ptr<Impl> impl);
  void free(Block* block);
  std::unique_ptr<Impl> impl_;
};

// The worker's end: the whole file mapped, offsets checked.
class ArenaView {
 public:
  // Takes the descriptor's mapping only; the caller keeps the descriptor.
  static Result<ArenaView> map(int fd);
  ArenaView(ArenaView&& other) noexcept;
  ArenaView& operator=(ArenaView&& other) noexcept;
  ArenaView(const ArenaView&) = delete;
  ArenaView& operator=(const ArenaView&) = delete;
  ~ArenaView();

  // nullptr-free: Internal when the range is not inside the arena.
  [[nodiscard]] Result<std::byte*> resolve(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  ArenaView(std::byte* base, std::uint64_t size) : base_(base), size_(size) {}
  std::byte* base_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace servoir
