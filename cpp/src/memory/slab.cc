#include "memory/slab.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/checked.h"
#include "base/mutex.h"

namespace servoir {
namespace {

constexpr std::uint64_t kBatchesPerSlab = 4;
// A slab has no more than kSlabBytes and no more than the arena divided by kSlabPart, unless a single batch needs more.
// Then the same holds of kLargeSlabBytes and kLargeSlabPart, unless a single call asks for more.
constexpr std::uint64_t kSlabBytes = 4ULL << 20U;
constexpr std::uint64_t kSlabPart = 64;
constexpr std::uint64_t kLargeSlabBytes = 16ULL << 20U;
constexpr std::uint64_t kLargeSlabPart = 16;
// All open slabs together may have the arena's limit divided by this.
constexpr std::uint64_t kOpenPart = 4;
// How many row sizes of a consumer have an open slab. A consumer of texts sees a new size with almost every row; the
// size that was used longest ago makes room.
constexpr std::size_t kOpenSlabs = 8;
constexpr unsigned kShardBits = 6;

struct Slab {
  std::uint64_t row_bytes = 0;
  BlockRef block;          // null: the next row needs a new block
  std::uint64_t rows = 0;  // how many it has, or the last block had
  std::uint64_t next = 0;  // the first row that was not given out
  std::uint64_t batch_rows = 0;
};

}  // namespace

struct SlabPool::Impl {
  explicit Impl(Arena* in)
      : arena(in),
        slab_bytes(std::min(kSlabBytes, in->limit() / kSlabPart)),
        large_slab_bytes(std::min(kLargeSlabBytes, in->limit() / kLargeSlabPart)),
        open_limit(in->limit() / kOpenPart),
        announced(in->limit() / 4, in->limit() / 4 * 3),
        heap(in->limit() / 4) {}

  // Consumers are spread by their number, so that stages do not wait for each other.
  struct alignas(64) Shard {
    Mutex mutex;
    std::unordered_map<std::uint64_t, std::vector<Slab>> consumers
        SERVOIR_GUARDED_BY(mutex);             // the slab used last comes first
    BlockRef empty SERVOIR_GUARDED_BY(mutex);  // the place of all tensors without bytes
  };

  Arena* const arena;
  const std::uint64_t slab_bytes;
  const std::uint64_t large_slab_bytes;
  const std::uint64_t open_limit;
  alignas(64) MemoryBudget announced;
  MemoryBudget heap;
  alignas(64) std::atomic<std::uint64_t> open_bytes{0};  // of all open slabs
  std::array<Shard, 1U << kShardBits> shards;

  Shard& shard_of(std::uint64_t consumer) { return shards[(consumer * 0x9E3779B97F4A7C15U) >> (64U - kShardBits)]; }
  [[nodiscard]] std::uint64_t most_rows(std::uint64_t row_bytes, std::uint64_t batch_rows) const;
  [[nodiscard]] Result<Place> take(const SlabKey& key, std::uint64_t rows, std::uint64_t batch_rows);
  [[nodiscard]] Status open(Slab* slab, std::uint64_t rows);
  void close(Slab* slab) {
    if (!slab->block) return;
    open_bytes.fetch_sub(slab->block->size(), std::memory_order_relaxed);
    slab->block = BlockRef();
  }
  void close_all();
};

// How many rows a slab may have. row_bytes is at least 1.
std::uint64_t SlabPool::Impl::most_rows(std::uint64_t row_bytes, std::uint64_t batch_rows) const {
  const std::uint64_t large = large_slab_bytes / row_bytes;
  if (batch_rows > large) return large;
  // The slab has whole batches, so that none is cut in two at its end.
  return std::clamp<std::uint64_t>(slab_bytes / row_bytes / batch_rows, 1, kBatchesPerSlab) * batch_rows;
}

// Gives the slab a new block for at least `rows` rows. The first block of a row size has no more than that, because
// many sizes come only once; each later block has twice the rows of the block before.
Status SlabPool::Impl::open(Slab* slab, std::uint64_t rows) {
  close(slab);  // first, so that the new block may get the memory of the old block
  const std::uint64_t most = std::max(rows, most_rows(slab->row_bytes, slab->batch_rows));
  slab->rows = std::clamp(2 * slab->rows, rows, most);
  Result<BlockRef> block = arena->allocate(slab->rows * slab->row_bytes);
  if (!block.ok() && slab->rows > rows) {
    slab->rows = rows;
    block = arena->allocate(rows * slab->row_bytes);
  }
  if (!block.ok()) return block.status();
  slab->block = std::move(block).value();
  slab->rows = std::min(most, slab->block->size() / slab->row_bytes);
  slab->next = 0;
  open_bytes.fetch_add(slab->block->size(), std::memory_order_relaxed);
  return {};
}

Result<Place> SlabPool::Impl::take(const SlabKey& key, std::uint64_t rows, std::uint64_t batch_rows) {
  Shard& shard = shard_of(key.consumer);
  const MutexLock lock(&shard.mutex);
  if (key.row_bytes == 0 || rows == 0) {
    if (!shard.empty) {
      SERVOIR_ASSIGN_OR_RETURN(shard.empty, arena->allocate(0));
    }
    return Place{shard.empty, shard.empty->offset(), shard.empty->data()};
  }
  std::vector<Slab>& slabs = shard.consumers[key.consumer];
  auto found = std::ranges::find(slabs, key.row_bytes, &Slab::row_bytes);
  if (found == slabs.end()) {
    if (slabs.size() == kOpenSlabs) {
      close(&slabs.back());
      slabs.pop_back();
    }
    slabs.push_back(Slab{key.row_bytes, {}, 0, 0, 0});
    found = slabs.end() - 1;
  }
  if (found != slabs.begin()) std::rotate(slabs.begin(), found, found + 1);
  Slab& slab = slabs.front();
  slab.batch_rows = std::max<std::uint64_t>(batch_rows, 1);
  // If only the pool's own share is left, all rows are free, and no other thread can make another share.
  if (slab.block.unique()) slab.next = 0;
  if (!slab.block || rows > slab.rows - slab.next) SERVOIR_RETURN_IF_ERROR(open(&slab, rows));
  const std::uint64_t at = slab.next * key.row_bytes;
  slab.next += rows;
  return Place{slab.block, slab.block->offset() + at, slab.block->data() + at};
}

void SlabPool::Impl::close_all() {
  for (Shard& shard : shards) {
    const MutexLock lock(&shard.mutex);
    for (auto& [consumer, slabs] : shard.consumers) {
      for (Slab& slab : slabs) close(&slab);
    }
    shard.consumers.clear();
  }
}

SlabPool::SlabPool(Arena* arena) : impl_(std::make_unique<Impl>(arena)) {}
SlabPool::~SlabPool() = default;

Result<Place> SlabPool::reserve(const SlabKey& key, std::uint64_t rows, std::uint64_t batch_rows) {
  std::uint64_t bytes = 0;
  if (!checked_mul(key.row_bytes, rows, &bytes)) {
    return Status::ResourceExhausted(std::to_string(rows) + " rows of " + std::to_string(key.row_bytes) +
                                     " bytes are more than 64 bits can count");
  }
  Result<Place> place = impl_->take(key, rows, batch_rows);
  if (!place.ok() && bytes <= impl_->arena->limit()) {
    impl_->close_all();
    return impl_->take(key, rows, batch_rows);
  }
  if (impl_->open_bytes.load(std::memory_order_relaxed) > impl_->open_limit) impl_->close_all();
  return place;
}

Result<Place> SlabPool::alone(std::uint64_t bytes) {
  Result<BlockRef> block = impl_->arena->allocate(bytes);
  if (!block.ok() && bytes <= impl_->arena->limit()) {
    impl_->close_all();
    block = impl_->arena->allocate(bytes);
  }
  if (!block.ok()) return block.status();
  Place place{std::move(block).value(), 0, nullptr};
  place.offset = place.block->offset();
  place.data = place.block->data();
  return place;
}

MemoryBudget* SlabPool::announced() { return &impl_->announced; }

MemoryBudget* SlabPool::heap() { return &impl_->heap; }

std::uint64_t SlabPool::arena_limit() const { return impl_->arena->limit(); }

ArenaUsage SlabPool::arena_usage() const { return impl_->arena->usage(); }

void SlabPool::batch_boundary(std::uint64_t consumer) {
  Impl::Shard& shard = impl_->shard_of(consumer);
  const MutexLock lock(&shard.mutex);
  const auto found = shard.consumers.find(consumer);
  if (found == shard.consumers.end()) return;
  for (Slab& slab : found->second) {
    if (!slab.block || slab.rows - slab.next >= slab.batch_rows) continue;
    if (slab.block.unique()) {
      slab.next = 0;
    } else {
      impl_->close(&slab);
    }
  }
}

void SlabPool::forget(std::uint64_t consumer) {
  Impl::Shard& shard = impl_->shard_of(consumer);
  const MutexLock lock(&shard.mutex);
  const auto found = shard.consumers.find(consumer);
  if (found == shard.consumers.end()) return;
  for (Slab& slab : found->second) impl_->close(&slab);
  shard.consumers.erase(found);
}

}  // namespace servoir
