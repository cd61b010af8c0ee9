// IoBuffers: memory that the connections of one event loop share. Belongs to the loop's thread; must outlive the loop,
// because a loop that ends may let go of the last connections.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "net/block_pool.h"
#include "net/output_queue.h"

namespace servoir {

class IoBuffers {
 public:
  static constexpr std::size_t kReceiveBytes = 256 * 1024;  // taken from a socket in one go

  // What is received into it must be used up, or kept elsewhere, before the next connection reads.
  [[nodiscard]] std::span<std::byte> receive_buffer() { return {receive_buffer_.get(), kReceiveBytes}; }
  [[nodiscard]] ChunkPool* chunks() { return &chunks_; }
  [[nodiscard]] SmallBlockPool* small_blocks() { return &small_blocks_; }

 private:
  ChunkPool chunks_;
  SmallBlockPool small_blocks_;
  std::unique_ptr<std::byte[]> receive_buffer_ = std::make_unique_for_overwrite<std::byte[]>(kReceiveBytes);
};

}  // namespace servoir
