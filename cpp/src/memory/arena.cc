#include "memory/arena.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/log.h"
#include "base/mutex.h"
#include "memory/arena_error.h"
#include "memory/block_shelves.h"
#include "memory/size_class.h"
#include "memory/small_blocks.h"
#include "memory/trimmer.h"

namespace servoir {
namespace {

constexpr std::size_t kBlocksPerChunk = 64;

}  // namespace

struct Arena::Impl {
  Impl(Arena* arena, UniqueFd file, std::byte* memory, std::uint64_t bytes)
      : fd(std::move(file)),
        base(memory),
        limit(bytes),
        pages(fd.get(), bytes / kPage, &mutex, [this] { flush(); }),
        small(arena, &pages) {}
  ~Impl() {
    pages.stop();
    munmap(base, limit);
  }

  Block* take(Arena* arena, std::uint64_t bytes) SERVOIR_REQUIRES(mutex);
  Block* take_small(std::uint32_t size_class) SERVOIR_REQUIRES(mutex);
  Block* take_large(Arena* arena, std::uint64_t count) SERVOIR_REQUIRES(mutex);
  void give_large(Block* block) SERVOIR_REQUIRES(mutex);
  // Gives back the pages that no block in use needs. The mutex is held.
  void flush();
  // All blocks that are out less those on the shelves.
  [[nodiscard]] std::uint64_t bytes_in_use() const SERVOIR_REQUIRES(mutex);
  [[nodiscard]] std::uint64_t blocks_in_use() const SERVOIR_REQUIRES(mutex);

  const UniqueFd fd;
  std::byte* const base;
  const std::uint64_t limit;

  mutable Mutex mutex;
  Trimmer pages;      // start() and stop() take the mutex; all else is called with the mutex held
  SmallBlocks small;  // under the mutex
  BlockShelves shelves;
  std::vector<std::unique_ptr<Block[]>> large_chunks SERVOIR_GUARDED_BY(mutex);
  Block* large_free SERVOIR_GUARDED_BY(mutex) = nullptr;
  std::uint64_t large_bytes SERVOIR_GUARDED_BY(mutex) = 0;
  std::uint64_t large_blocks SERVOIR_GUARDED_BY(mutex) = 0;
  mutable std::uint64_t peak SERVOIR_GUARDED_BY(mutex) = 0;
};

Block* Arena::Impl::take(Arena* arena, std::uint64_t bytes) {
  if (bytes <= kMaxSmall) return take_small(size_class(bytes));
  return bytes <= limit ? take_large(arena, (bytes + kPage - 1) / kPage) : nullptr;
}

Block* Arena::Impl::take_small(std::uint32_t size_class) {
  Block* block = small.take(size_class);
  if (block == nullptr) return nullptr;
  for (std::uint32_t more = BlockShelves::refill(size_class); more > 1 && !small.exhausted(size_class); --more) {
    // The shelf was empty just now. If a thread that shares it was faster, it has too many until that thread gives.
    (void)shelves.give(size_class, small.take(size_class));
  }
  return block;
}

Block* Arena::Impl::take_large(Arena* arena, std::uint64_t count) {
  const std::optional<std::uint64_t> first = pages.take(count);
  if (!first.has_value()) return nullptr;
  if (large_free == nullptr) {
    large_chunks.push_back(std::make_unique<Block[]>(kBlocksPerChunk));
    for (std::size_t i = 0; i < kBlocksPerChunk; ++i) {
      large_chunks.back()[i].next_free_ = std::exchange(large_free, &large_chunks.back()[i]);
    }
  }
  Block* block = std::exchange(large_free, large_free->next_free_);
  block->arena_ = arena;
  block->offset_ = *first * kPage;
  block->size_ = count * kPage;
  large_bytes += block->size_;
  ++large_blocks;
  return block;
}

void Arena::Impl::give_large(Block* block) {
  pages.give({block->offset_ / kPage, block->size_ / kPage});
  large_bytes -= block->size_;
  --large_blocks;
  block->next_free_ = std::exchange(large_free, block);
}

void Arena::Impl::flush() {
  small.give(shelves.take_all());
  small.flush();
}

std::uint64_t Arena::Impl::bytes_in_use() const {
  const std::uint64_t out = large_bytes + small.bytes_out();
  return out - std::min(out, shelves.bytes());
}

std::uint64_t Arena::Impl::blocks_in_use() const {
  const std::uint64_t out = large_blocks + small.blocks_out();
  return out - std::min(out, shelves.blocks());
}

Arena::Arena(UniqueFd file, std::byte* memory, std::uint64_t bytes)
    : impl_(std::make_unique<Impl>(this, std::move(file), memory, bytes)) {}

Result<std::unique_ptr<Arena>> Arena::create(std::uint64_t limit) {
  constexpr std::uint64_t kMost = 1ULL << 46U;  // half of what a process can map
  if (limit == 0 || limit > kMost) {
    return Status::InvalidArgument("an arena cannot have a limit of " + std::to_string(limit) +
                                   " bytes; it must be between 1 and " + std::to_string(kMost));
  }
  const std::uint64_t bytes = round_up(limit, kSegment);
  UniqueFd fd(memfd_create("servoir-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return Status::FromErrno("creating the arena's memory file", errno);
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return arena_error("setting the size of the arena to " + std::to_string(bytes) + " bytes", errno);
  }
  // If a worker could shrink the file, the server would die of SIGBUS.
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Status::FromErrno("sealing the size of the arena", errno);
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  if (memory == MAP_FAILED) {
    return arena_error("mapping the arena of " + std::to_string(bytes) + " bytes", errno);
  }
  // A forked child would keep all of it after the end of the server. Where the kernel does not know this, it does.
  (void)madvise(memory, bytes, MADV_DONTFORK);
  std::unique_ptr<Arena> arena(new Arena(std::move(fd), static_cast<std::byte*>(memory), bytes));
  SERVOIR_RETURN_IF_ERROR(arena->impl_->pages.start());
  return arena;
}

Arena::~Arena() {
  impl_->pages.stop();
  const MutexLock lock(&impl_->mutex);
  if (const std::uint64_t blocks = impl_->blocks_in_use(); blocks > 0) {
    SERVOIR_ERROR("the arena is destroyed while " + std::to_string(blocks) + " blocks are in use");
  }
  impl_->flush();
}

Result<BlockRef> Arena::allocate(std::uint64_t bytes) {
  Impl& impl = *impl_;
  if (bytes <= kMaxSmall) {
    if (Block* block = impl.shelves.take(size_class(bytes)); block != nullptr) return BlockRef(block);
  }
  const MutexLock lock(&impl.mutex);
  Block* block = impl.take(this, bytes);
  if (block == nullptr && bytes <= impl.limit) {
    // Memory that is kept for other sizes, or is on its way back to the kernel, may be enough.
    impl.pages.wait_until_released();
    impl.flush();
    block = impl.take(this, bytes);
  }
  if (block == nullptr) {
    return Status::ResourceExhausted(
        "no room for " + std::to_string(bytes) + " bytes in the arena: " + std::to_string(impl.bytes_in_use()) +
        " of " + std::to_string(impl.limit) +
        " bytes are in use; send less at a time or raise the arena's limit (SERVOIR_ARENA_LIMIT_MB)");
  }
  impl.peak = std::max(impl.peak, impl.bytes_in_use());
  return BlockRef(block);
}

void Arena::free(Block* block) {
  if (block->run_ != nullptr) {
    const std::uint32_t of_size = size_class(block->size_);
    if (!impl_->shelves.give(of_size, block)) return;
    const MutexLock lock(&impl_->mutex);
    impl_->small.give(impl_->shelves.surplus(of_size));
    return;
  }
  const MutexLock lock(&impl_->mutex);
  impl_->give_large(block);
}

ArenaUsage Arena::usage() const {
  const MutexLock lock(&impl_->mutex);
  const std::uint64_t in_use = impl_->bytes_in_use();
  impl_->peak = std::max(impl_->peak, in_use);
  return {impl_->limit, in_use, impl_->pages.resident_bytes(), impl_->peak, impl_->blocks_in_use()};
}

void Arena::trim() {
  const MutexLock lock(&impl_->mutex);
  impl_->flush();
  impl_->pages.release_all();
}

int Arena::fd() const { return impl_->fd.get(); }
std::byte* Arena::base() const { return impl_->base; }
std::uint64_t Arena::limit() const { return impl_->limit; }

std::byte* Block::data() const { return arena_->base() + offset_; }

void BlockRef::release(Block* block) { block->arena_->free(block); }

}  // namespace servoir
