// SlabPool: gives consecutive rows of memory to the tensors that will share a batch.
//
// Each stage input has, for each dtype and row size, an open slab: a block with room for several batches of rows. A
// tensor that arrives is copied straight into the next row; tensors that arrive one after the other so lie one behind
// the other, and a run of them is a batch without any further copy. Nothing depends on that: a batch whose rows are
// scattered is gathered by the worker. A slab is freed when the last tensor in it has gone; one in which all rows are
// free again is used from its start.
//
// Any thread of the server may call; one mutex inside.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "memory/arena.h"

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

  // `rows` consecutive rows of key.row_bytes bytes each. `batch_rows` is the largest batch of the consumer: a slab
  // holds a few times as many rows, fewer where rows are large. row_bytes 0 gives an empty place in a living block.
  [[nodiscard]] Result<Place> reserve(const SlabKey& key, std::uint64_t rows, std::uint64_t batch_rows);
  // The consumer has closed a batch and has nothing left: if the open slab has no room for a whole further batch, the
  // next row starts a new slab, so that the next batch is not cut in two.
  void batch_boundary(std::uint64_t consumer);
  // Drops the open slabs of consumers that are gone.
  void forget(std::uint64_t consumer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
