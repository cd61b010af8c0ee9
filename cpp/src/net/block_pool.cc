#include "net/block_pool.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace servoir {

SmallBlockPool::~SmallBlockPool() {
  for (List& list : lists_) {
    while (list.first != nullptr) std::free(std::exchange(list.first, list.first->next));
  }
}

void* SmallBlockPool::take(std::size_t bytes) {
  std::size_t size = bytes + sizeof(Head);
  if (bytes <= kLargest) {
    size = (size + kStep - 1) / kStep * kStep;
    List& list = lists_[size / kStep - 1];
    if (list.first != nullptr) {
      Head* head = list.first;
      list.first = head->next;
      --list.count;
      return head + 1;
    }
  } else if (size < bytes) {
    return nullptr;
  }
  void* memory = std::malloc(size);
  if (memory == nullptr) return nullptr;
  auto* head = new (memory) Head;
  head->room = size - sizeof(Head);
  return head + 1;
}

void SmallBlockPool::give(void* block) {
  if (block == nullptr) return;
  Head* head = static_cast<Head*>(block) - 1;
  const std::size_t size = head->room + sizeof(Head);
  if (head->room <= kLargest) {
    List& list = lists_[size / kStep - 1];
    if (list.count * size < kKeptBytes) {
      head->next = list.first;
      list.first = head;
      ++list.count;
      return;
    }
  }
  std::free(head);
}

void* SmallBlockPool::resize(void* block, std::size_t bytes) {
  if (block == nullptr) return take(bytes);
  const std::size_t room = (static_cast<Head*>(block) - 1)->room;
  if (bytes <= room) return block;
  void* larger = take(bytes);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, block, room);
  give(block);
  return larger;
}

}  // namespace servoir
