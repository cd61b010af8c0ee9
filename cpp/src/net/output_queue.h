// OutputQueue: bytes on their way to a socket, sent with writev.
//
// Small pieces are copied into chunks, next to each other; tensors stay in the arena and the queue holds a share in
// their block until the socket has taken them; a Payload can be handed over whole. Chunks come from and go back to a
// ChunkPool, so that a connection with nothing to send holds none. Belongs to one I/O thread.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "memory/payload.h"

namespace servoir {

inline constexpr std::size_t kChunkBytes = 16384;
using Chunk = std::array<char, kChunkBytes>;

// Of one I/O thread; outlives the queues that use it.
class ChunkPool {
 public:
  std::unique_ptr<Chunk> take();
  void give(std::unique_ptr<Chunk> chunk);

 private:
  std::vector<std::unique_ptr<Chunk>> free_;
};

class OutputQueue {
 public:
  explicit OutputQueue(ChunkPool* pool) : pool_(pool) {}
  ~OutputQueue() { clear(); }
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;

  void append(std::string_view bytes);                  // copied
  void append(std::string_view bytes, BlockRef share);  // referred to
  void append(Payload payload);                         // taken over

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  // Describes bytes from the front, in order; returns how many pieces were filled. Not always all there is: call again
  // after consume().
  [[nodiscard]] std::size_t gather(iovec* pieces, std::size_t most) const;
  void consume(std::size_t bytes);
  // What waits here keeps no more of the arena than it has bytes (move_out() of payload.h).
  void move_out();
  void clear();

 private:
  struct Segment {
    std::string_view bytes;            // of chunk or block; empty for a payload
    std::unique_ptr<Chunk> chunk;      // owned
    BlockRef block;                    // or shared
    std::unique_ptr<Payload> payload;  // or a payload
  };
  [[nodiscard]] std::size_t left_in(const Segment& segment) const;

  ChunkPool* pool_;
  std::vector<Segment> segments_;  // [first_, end)
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace servoir
