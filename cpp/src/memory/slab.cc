#include "memory/slab.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/checked.h"

namespace servoir {
namespace {

constexpr std::uint64_t kBatchesPerSlab = 4;
constexpr std::uint64_t kSlabBytes = 4ULL << 20U;        // more only where one batch needs it
constexpr std::uint64_t kLargeSlabBytes = 16ULL << 20U;  // more only where one call asks for it
// Row sizes per consumer whose slabs stay open. A consumer of texts sees a new size with almost every row; the sizes
// used longest ago make room.
constexpr std::size_t kOpenSlabs = 8;

// How many rows a new slab gets. row_bytes and rows are at least 1, and their product fits 64 bits.
std::uint64_t slab_rows(std::uint64_t row_bytes, std::uint64_t rows, std::uint64_t batch_rows) {
  const std::uint64_t batch = std::max<std::uint64_t>(batch_rows, 1);
  const std::uint64_t large = kLargeSlabBytes / row_bytes;
  if (batch > large) return std::max(rows, large);
  // Whole batches, so that the last one in the slab is not cut in two.
  const std::uint64_t batches = std::clamp<std::uint64_t>(kSlabBytes / row_bytes / batch, 1, kBatchesPerSlab);
  return std::max(rows, batches * batch);
}

struct Slab {
  std::uint64_t row_bytes = 0;
  BlockRef block;
  std::uint64_t rows = 0;  // that it has
  std::uint64_t next = 0;  // first that was not given out
  std::uint64_t batch_rows = 0;
};

}  // namespace

struct SlabPool::Impl {
  explicit Impl(Arena* in) : arena(in) {}

  Arena* const arena;
  std::mutex mutex;
  std::unordered_map<std::uint64_t, std::vector<Slab>> consumers;  // each the most recently used first
  BlockRef empty;                                                  // where places of no bytes lie

  Slab& slab_for(const SlabKey& key);
};

// The consumer's slab for this row size, perhaps without a block, moved to the front.
Slab& SlabPool::Impl::slab_for(const SlabKey& key) {
  std::vector<Slab>& slabs = consumers[key.consumer];
  auto found = std::ranges::find(slabs, key.row_bytes, &Slab::row_bytes);
  if (found == slabs.end()) {
    if (slabs.size() == kOpenSlabs) slabs.pop_back();
    slabs.push_back(Slab{key.row_bytes, {}, 0, 0, 0});
    found = slabs.end() - 1;
  }
  if (found != slabs.begin()) std::rotate(slabs.begin(), found, found + 1);
  return slabs.front();
}

SlabPool::SlabPool(Arena* arena) : impl_(std::make_unique<Impl>(arena)) {}
SlabPool::~SlabPool() = default;

Result<Place> SlabPool::reserve(const SlabKey& key, std::uint64_t rows, std::uint64_t batch_rows) {
  std::uint64_t bytes = 0;
  if (!checked_mul(key.row_bytes, rows, &bytes)) {
    return Status::ResourceExhausted(std::to_string(rows) + " rows of " + std::to_string(key.row_bytes) +
                                     " bytes are more than 64 bits can count");
  }
  const std::lock_guard lock(impl_->mutex);
  if (bytes == 0) {
    if (!impl_->empty) {
      SERVOIR_ASSIGN_OR_RETURN(impl_->empty, impl_->arena->allocate(0));
    }
    return Place{impl_->empty, impl_->empty->offset(), impl_->empty->data()};
  }
  Slab& slab = impl_->slab_for(key);
  slab.batch_rows = std::max<std::uint64_t>(batch_rows, 1);
  // Only the pool's own share is left: all its rows are free. Nobody else can make another share from it.
  if (slab.block.unique()) slab.next = 0;
  if (!slab.block || rows > slab.rows - slab.next) {
    slab.block = BlockRef();  // before the next is allocated, so that its memory can be that
    const std::uint64_t wanted = slab_rows(key.row_bytes, rows, batch_rows);
    Result<BlockRef> block = impl_->arena->allocate(wanted * key.row_bytes);
    slab.rows = wanted;
    if (!block.ok() && wanted > rows) {
      block = impl_->arena->allocate(bytes);
      slab.rows = rows;
    }
    if (!block.ok()) return block.status();
    slab.block = std::move(block).value();
    slab.next = 0;
  }
  const std::uint64_t at = slab.next * key.row_bytes;
  slab.next += rows;
  return Place{slab.block, slab.block->offset() + at, slab.block->data() + at};
}

void SlabPool::batch_boundary(std::uint64_t consumer) {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->consumers.find(consumer);
  if (found == impl_->consumers.end()) return;
  for (Slab& slab : found->second) {
    if (!slab.block || slab.rows - slab.next >= slab.batch_rows) continue;
    if (slab.block.unique()) {
      slab.next = 0;
    } else {
      slab.block = BlockRef();
    }
  }
}

void SlabPool::forget(std::uint64_t consumer) {
  const std::lock_guard lock(impl_->mutex);
  impl_->consumers.erase(consumer);
}

}  // namespace servoir
