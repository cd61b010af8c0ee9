#include "memory/arena.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/checked.h"
#include "base/log.h"
#include "memory/extents.h"
#include "memory/size_class.h"

namespace servoir {

// Consecutive pages cut into blocks of one size class.
namespace arena_internal {
struct Run {
  PageRange pages;
  std::uint32_t size_class = 0;
  std::uint32_t blocks_in_all = 0;
  std::uint32_t used = 0;     // living blocks and those in the class's list of recent ones
  std::uint32_t touched = 0;  // blocks used at least once: the first ones
  Block* free = nullptr;      // the others among them, last freed first
  std::unique_ptr<Block[]> blocks;
  Run* previous = nullptr;  // in the class's list of runs with free blocks
  Run* next = nullptr;
};
}  // namespace arena_internal

namespace {

using arena_internal::Run;

constexpr std::uint64_t kSegment = 32ULL << 20U;
constexpr std::uint64_t kWarm = 64ULL << 20U;  // free memory that is kept in any case
constexpr std::uint64_t kReleaseChunk = 8ULL << 20U;
constexpr std::chrono::milliseconds kTick(250);
constexpr std::uint64_t kRecentBytes = 256ULL << 10U;  // kept at hand for each size class, at most
constexpr std::uint64_t kRecentBlocks = 64;
constexpr std::size_t kBlocksPerChunk = 64;

std::size_t recent_limit(std::uint32_t index) {
  return std::clamp<std::size_t>(kRecentBytes / class_bytes(index), 2, kRecentBlocks);
}

struct SizeClass {
  std::vector<Block*> recent;  // free blocks, last freed last: the first to be used again
  Run* runs = nullptr;         // with free blocks
  Run* spare = nullptr;        // one run without any block in use, kept so as not to make one again and again
};

}  // namespace

struct Arena::Impl {
  Impl(UniqueFd file, std::byte* memory, std::uint64_t bytes)
      : fd(std::move(file)), base(memory), limit(bytes), extents(bytes / kPage, kSegment / kPage) {
    for (std::uint32_t i = 0; i < kSizeClasses; ++i) classes[i].recent.reserve(recent_limit(i) + 1);
  }
  ~Impl() { munmap(base, limit); }

  Block* take_small(Arena* arena, std::uint32_t index);
  Block* take_large(Arena* arena, std::uint64_t pages);
  std::optional<std::uint64_t> take_pages(std::uint64_t count);
  void give_pages(PageRange range);
  Run* make_run(Arena* arena, std::uint32_t index);
  void drop_run(Run* run);
  void return_to_run(Block* block);
  void give_small(Block* block);
  void give_large(Block* block);
  void flush();
  bool release_chunk(std::unique_lock<std::mutex>* lock, std::uint64_t bytes);
  void keep_trimmed();
  [[nodiscard]] std::uint64_t taken_bytes() const { return (extents.resident() - extents.free_resident()) * kPage; }

  const UniqueFd fd;
  std::byte* const base;
  const std::uint64_t limit;

  mutable std::mutex mutex;
  Extents extents;
  std::array<SizeClass, kSizeClasses> classes;
  std::vector<std::unique_ptr<Block[]>> large_chunks;
  Block* large_free = nullptr;
  std::uint64_t in_use = 0;
  std::uint64_t peak = 0;
  std::uint64_t blocks = 0;

  std::condition_variable wake;      // of the trimming thread
  std::condition_variable released;  // a chunk that was out to be released is back
  std::uint64_t window_peak = 0;     // most bytes taken since the last tick
  unsigned releasing = 0;            // chunks that are out
  bool excess = false;               // the trimming thread has something to do
  bool stopping = false;
  bool punch_failed = false;
  std::thread trimmer;
};

namespace {

void unlink_run(SizeClass* owner, Run* run) {
  (run->previous != nullptr ? run->previous->next : owner->runs) = run->next;
  if (run->next != nullptr) run->next->previous = run->previous;
  run->previous = run->next = nullptr;
}
void link_run(SizeClass* owner, Run* run) {
  run->next = owner->runs;
  if (run->next != nullptr) run->next->previous = run;
  owner->runs = run;
}

}  // namespace

std::optional<std::uint64_t> Arena::Impl::take_pages(std::uint64_t count) {
  std::optional<std::uint64_t> first = extents.take(count);
  if (first.has_value()) window_peak = std::max(window_peak, taken_bytes());
  return first;
}

void Arena::Impl::give_pages(PageRange range) {
  extents.give(range);
  if (!excess && extents.free_resident() * kPage > kWarm) {
    excess = true;
    wake.notify_one();
  }
}

Run* Arena::Impl::make_run(Arena* arena, std::uint32_t index) {
  const std::optional<std::uint64_t> first = take_pages(run_pages(index));
  if (!first.has_value()) return nullptr;
  auto run = std::make_unique<Run>();
  run->pages = {*first, run_pages(index)};
  run->size_class = index;
  run->blocks_in_all = static_cast<std::uint32_t>(run->pages.count * kPage / class_bytes(index));
  run->blocks = std::make_unique<Block[]>(run->blocks_in_all);
  for (std::uint32_t i = 0; i < run->blocks_in_all; ++i) {
    Block& block = run->blocks[i];
    block.arena_ = arena;
    block.offset_ = *first * kPage + i * class_bytes(index);
    block.size_ = class_bytes(index);
    block.run_ = run.get();
  }
  link_run(&classes[index], run.get());
  return run.release();
}

void Arena::Impl::drop_run(Run* run) {
  const std::unique_ptr<Run> owned(run);
  give_pages(owned->pages);
}

Block* Arena::Impl::take_small(Arena* arena, std::uint32_t index) {
  SizeClass& owner = classes[index];
  if (!owner.recent.empty()) {
    Block* block = owner.recent.back();
    owner.recent.pop_back();
    return block;
  }
  if (owner.runs == nullptr && owner.spare != nullptr) link_run(&owner, std::exchange(owner.spare, nullptr));
  if (owner.runs == nullptr && make_run(arena, index) == nullptr) return nullptr;
  Run* run = owner.runs;
  Block* block = run->free;
  if (block != nullptr) {
    run->free = block->next_free_;
  } else {
    block = &run->blocks[run->touched++];
  }
  ++run->used;
  if (run->used == run->blocks_in_all) unlink_run(&owner, run);
  return block;
}

void Arena::Impl::return_to_run(Block* block) {
  Run* run = block->run_;
  SizeClass& owner = classes[run->size_class];
  if (run->used == run->blocks_in_all) link_run(&owner, run);
  block->next_free_ = run->free;
  run->free = block;
  if (--run->used > 0) return;
  unlink_run(&owner, run);
  if (owner.spare == nullptr) {
    owner.spare = run;
  } else {
    drop_run(run);
  }
}

void Arena::Impl::give_small(Block* block) {
  std::vector<Block*>& recent = classes[block->run_->size_class].recent;
  recent.push_back(block);
  const std::size_t most = recent_limit(block->run_->size_class);
  if (recent.size() <= most) return;
  // Those freed longest ago go back to their runs, which so can become empty.
  const std::size_t half = (most + 1) / 2;
  for (std::size_t i = 0; i < half; ++i) return_to_run(recent[i]);
  recent.erase(recent.begin(), recent.begin() + static_cast<std::ptrdiff_t>(half));
}

Block* Arena::Impl::take_large(Arena* arena, std::uint64_t pages) {
  const std::optional<std::uint64_t> first = take_pages(pages);
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
  block->size_ = pages * kPage;
  return block;
}

void Arena::Impl::give_large(Block* block) {
  give_pages({block->offset_ / kPage, block->size_ / kPage});
  block->next_free_ = std::exchange(large_free, block);
}

// Gives the pages that are only kept at hand for small blocks back to the free ones.
void Arena::Impl::flush() {
  for (SizeClass& owner : classes) {
    for (Block* block : owner.recent) return_to_run(block);
    owner.recent.clear();
    if (owner.spare != nullptr) drop_run(std::exchange(owner.spare, nullptr));
  }
}

// Gives one free range back to the kernel, at most `bytes`. The lock is open meanwhile: the kernel takes its time.
bool Arena::Impl::release_chunk(std::unique_lock<std::mutex>* lock, std::uint64_t bytes) {
  const std::uint64_t most = (std::min(bytes, kReleaseChunk) + kPage - 1) / kPage;
  const std::optional<PageRange> range = extents.take_for_release(most);
  if (!range.has_value()) return false;
  ++releasing;
  lock->unlock();
  const int failure = fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(range->first * kPage), static_cast<off_t>(range->count * kPage)) == 0
                          ? 0
                          : errno;
  lock->lock();
  --releasing;
  if (failure == 0) {
    extents.give_cold(*range);
  } else {
    extents.give(*range);
    if (!std::exchange(punch_failed, true)) {
      SERVOIR_WARNING(Status::FromErrno("giving free memory of the arena back", failure).message());
    }
  }
  released.notify_all();
  return failure == 0;
}

// The trimming thread: what was taken within the last second or so stays resident, and kWarm beside what is taken now;
// the rest goes back. So a load that comes in waves finds its memory again, and a spike is forgotten.
void Arena::Impl::keep_trimmed() {
  std::unique_lock lock(mutex);
  std::uint64_t recent = 0;
  while (!stopping) {
    excess = extents.free_resident() * kPage > kWarm;
    if (!excess) {
      recent = 0;
      window_peak = taken_bytes();
      wake.wait(lock, [this] { return stopping || excess; });
      continue;
    }
    wake.wait_for(lock, kTick, [this] { return stopping; });
    recent = std::max(window_peak, recent - recent / 4);
    window_peak = taken_bytes();
    const std::uint64_t keep = std::max(taken_bytes() + kWarm, recent);
    if (extents.resident() * kPage > keep) flush();
    while (!stopping && extents.resident() * kPage > keep && extents.free_resident() * kPage > kWarm) {
      if (!release_chunk(&lock, extents.resident() * kPage - keep)) break;
    }
  }
}

Arena::Arena(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Arena>> Arena::create(std::uint64_t limit) {
  constexpr std::uint64_t kMost = 1ULL << 46U;  // half of what a process can map
  if (limit == 0 || limit > kMost) {
    return Status::InvalidArgument("an arena cannot have a limit of " + std::to_string(limit) +
                                   " bytes; it must be between 1 and " + std::to_string(kMost));
  }
  const std::uint64_t bytes = round_up(limit, kSegment);
  UniqueFd fd(memfd_create("servoir-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return Status::FromErrno("creating the arena's memory", errno);
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return Status::FromErrno("setting the size of the arena to " + std::to_string(bytes) + " bytes", errno);
  }
  // A worker that cut the file would have the server die of SIGBUS.
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Status::FromErrno("sealing the size of the arena", errno);
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  if (memory == MAP_FAILED) {
    return Status::FromErrno("mapping the arena of " + std::to_string(bytes) + " bytes", errno);
  }
  std::unique_ptr<Arena> arena(
      new Arena(std::make_unique<Impl>(std::move(fd), static_cast<std::byte*>(memory), bytes)));
  // The thread handles no signals: they are the main thread's.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Status started;
  try {
    arena->impl_->trimmer = std::thread([impl = arena->impl_.get()] {
      pthread_setname_np(pthread_self(), "arena-trim");
      impl->keep_trimmed();
    });
  } catch (const std::system_error& error) {
    started = Status::FromErrno("starting the arena's thread", error.code().value());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started.ok()) return started;
  return arena;
}

Arena::~Arena() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    impl_->wake.notify_one();
  }
  if (impl_->trimmer.joinable()) impl_->trimmer.join();
  if (impl_->blocks > 0) {
    SERVOIR_ERROR("the arena is destroyed while " + std::to_string(impl_->blocks) + " blocks are in use");
  }
  impl_->flush();
}

Result<BlockRef> Arena::allocate(std::uint64_t bytes) {
  Impl& impl = *impl_;
  std::unique_lock lock(impl.mutex);
  auto attempt = [&]() -> Block* {
    if (bytes <= kMaxSmall) return impl.take_small(this, size_class(bytes));
    return bytes <= impl.limit ? impl.take_large(this, (bytes + kPage - 1) / kPage) : nullptr;
  };
  Block* block = attempt();
  if (block == nullptr && bytes <= impl.limit) {
    // What is kept at hand for other sizes, or is on its way back to the kernel, may be what is missing.
    impl.released.wait(lock, [&] { return impl.releasing == 0; });
    impl.flush();
    block = attempt();
  }
  if (block == nullptr) {
    return Status::ResourceExhausted(
        "no room for " + std::to_string(bytes) + " bytes in the arena: " + std::to_string(impl.in_use) + " of " +
        std::to_string(impl.limit) + " bytes are in use; send less at a time or raise the arena's limit");
  }
  impl.in_use += block->size_;
  impl.peak = std::max(impl.peak, impl.in_use);
  ++impl.blocks;
  return BlockRef(block);
}

void Arena::free(Block* block) {
  const std::lock_guard lock(impl_->mutex);
  impl_->in_use -= block->size_;
  --impl_->blocks;
  if (block->run_ != nullptr) {
    impl_->give_small(block);
  } else {
    impl_->give_large(block);
  }
}

ArenaUsage Arena::usage() const {
  const std::lock_guard lock(impl_->mutex);
  return {impl_->limit, impl_->in_use, impl_->extents.resident() * kPage, impl_->peak, impl_->blocks};
}

void Arena::trim() {
  std::unique_lock lock(impl_->mutex);
  impl_->flush();
  while (impl_->extents.free_resident() > 0 && impl_->release_chunk(&lock, kReleaseChunk)) {
  }
}

int Arena::fd() const { return impl_->fd.get(); }
std::byte* Arena::base() const { return impl_->base; }
std::uint64_t Arena::limit() const { return impl_->limit; }

std::byte* Block::data() const { return arena_->base() + offset_; }

void BlockRef::release(Block* block) { block->arena_->free(block); }

Result<ArenaView> ArenaView::map(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return Status::FromErrno("looking at the arena's descriptor", errno);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes == 0) return Status::FailedPrecondition("the descriptor given as the arena's is empty");
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (memory == MAP_FAILED) {
    return Status::FromErrno("mapping the arena of " + std::to_string(bytes) + " bytes", errno);
  }
  return ArenaView(static_cast<std::byte*>(memory), bytes);
}

ArenaView::ArenaView(ArenaView&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), size_(std::exchange(other.size_, 0)) {}

ArenaView& ArenaView::operator=(ArenaView&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_, other.size_);
  return *this;
}

ArenaView::~ArenaView() {
  if (base_ != nullptr) munmap(base_, size_);
}

Result<std::byte*> ArenaView::resolve(std::uint64_t offset, std::uint64_t bytes) const {
  if (!within(offset, bytes, size_)) {
    return Status::Internal("the range of " + std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                            " is not inside the arena of " + std::to_string(size_) + " bytes");
  }
  return base_ + offset;
}

}  // namespace servoir
