// SmallBlockPool: memory for small things that come and go with every request, kept in lists by size.
//
// nghttp2 asks for some eight blocks a call; from here each costs a few instructions. Blocks of up to kLargest bytes
// are kept when they are given back, up to a bound; larger ones come from and go to malloc. Belongs to one I/O thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace servoir {

class SmallBlockPool {
 public:
  static constexpr std::size_t kLargest = 1008;

  SmallBlockPool() = default;
  ~SmallBlockPool();
  SmallBlockPool(const SmallBlockPool&) = delete;
  SmallBlockPool& operator=(const SmallBlockPool&) = delete;

  // As malloc, free and realloc, for blocks of this pool.
  [[nodiscard]] void* take(std::size_t bytes);
  void give(void* block);
  [[nodiscard]] void* resize(void* block, std::size_t bytes);

 private:
  // Before each block. Keeps the alignment of malloc.
  struct alignas(16) Head {
    std::size_t room = 0;  // bytes after the head
    Head* next = nullptr;  // while it lies in the list
  };
  static constexpr std::size_t kStep = 64;
  static constexpr std::size_t kKeptBytes = 256 * 1024;  // of each size
  struct List {
    Head* first = nullptr;
    std::size_t count = 0;
  };
  std::array<List, (kLargest + sizeof(Head)) / kStep> lists_;  // [size with head / kStep - 1]
};

}  // namespace servoir
