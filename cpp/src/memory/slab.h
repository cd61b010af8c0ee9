// SlabPool: gives consecutive rows of memory to the tensors that will share a batch.
//
// Each stage input has an open slab for each row size: a block with room for several batches of rows. A tensor that
// arrives is copied straight into the next row. Tensors that arrive one after the other therefore lie next to each
// other, and a run of them is a batch without any further copy. Nothing depends on that: a worker gathers a batch whose
// rows are scattered. A slab is freed when the last tensor in it has gone; a slab in which all rows are free again is
// used from its start.
//
// The first slab of a row size has as many rows as are asked for, and each later slab twice as many as the slab before,
// up to several batches. So a size that comes once takes no more than it needs. Open slabs together have at most a
// quarter of the arena. All of them are dropped when they have more, and whenever the arena has no room.
//
// Any thread of the server may call. Consumers are spread over mutexes by their number.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "memory/arena.h"
#include "memory/memory_budget.h"

namespace servoir {

struct SlabKey {
  std::uint64_t consumer = 0;   // which stage input the rows are for; any number that the caller chooses
  std::uint64_t row_bytes = 0;  // distance of two rows
  bool operator==(const SlabKey&) const = default;
};

struct Place {
  BlockRef block;
  std::uint64_t offset = 0;   // of the first row, from the start of the arena
  std::byte* data = nullptr;  // of the first row
};

class SlabPool {
 public:
  explicit SlabPool(Arena* arena);  // which must live longer
  ~SlabPool();
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  // Reserves `rows` consecutive rows of key.row_bytes bytes each. `batch_rows` is the largest batch of the consumer:
  // its slabs grow to a few times as many rows, or to fewer where rows are large. A row_bytes of 0 gives an empty place
  // in a living block.
  [[nodiscard]] Result<Place> reserve(const SlabKey& key, std::uint64_t rows, std::uint64_t batch_rows);
  // Allocates a block for these bytes alone. If there is no room otherwise, the open slabs are dropped.
  [[nodiscard]] Result<Place> alone(std::uint64_t bytes);
  // The budget for memory that is reserved before the bytes for it have come: a quarter of the arena for all messages
  // together, and three quarters for a message while no other message has any.
  [[nodiscard]] MemoryBudget* announced();
  // The budget for what requests take in addition to their tensors, such as the place of each tensor of each instance:
  // a quarter of the arena's limit.
  [[nodiscard]] MemoryBudget* heap();
  [[nodiscard]] std::uint64_t arena_limit() const;
  [[nodiscard]] ArenaUsage arena_usage() const;
  // The consumer has closed a batch and nothing waits for it any more. If the open slab has no room for another whole
  // batch, the next row starts a new slab, so that the next batch is not cut in two.
  void batch_boundary(std::uint64_t consumer);
  // Drops the open slabs of consumers that are gone.
  void forget(std::uint64_t consumer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
