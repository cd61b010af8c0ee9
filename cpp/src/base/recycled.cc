#include "base/recycled.h"

#include <array>

namespace servoir {
namespace {

// As gcc and clang say that AddressSanitizer is there.
#ifdef __has_feature
#define SERVOIR_HAS_FEATURE(name) __has_feature(name)
#else
#define SERVOIR_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || SERVOIR_HAS_FEATURE(address_sanitizer)
constexpr bool kKeeps = false;
#else
constexpr bool kKeeps = true;
#endif

constexpr std::size_t kStep = 32;
constexpr std::size_t kLargest = 1024;
constexpr std::size_t kKeptBytes = 64 * 1024;  // of each size, in each thread

struct Block {
  Block* next;
};

struct Lists {
  Lists() = default;
  Lists(const Lists&) = delete;
  Lists& operator=(const Lists&) = delete;
  ~Lists();

  struct List {
    Block* first = nullptr;
    std::size_t bytes = 0;
  };
  std::array<List, kLargest / kStep> by_size;  // [size / kStep - 1]
};

// The thread's lists; null before the first use, and when the thread is about to end.
constinit thread_local Lists* t_lists = nullptr;
constinit thread_local bool t_ends = false;

Lists::~Lists() {
  t_lists = nullptr;
  t_ends = true;
  for (List& list : by_size) {
    while (list.first != nullptr) ::operator delete(std::exchange(list.first, list.first->next));
  }
}

Lists* lists() {
  if (t_lists == nullptr && !t_ends) {
    thread_local Lists made;
    t_lists = &made;
  }
  return t_lists;
}

constexpr std::size_t rounded(std::size_t bytes) { return bytes == 0 ? kStep : (bytes + kStep - 1) / kStep * kStep; }

}  // namespace

void* take_recycled(std::size_t bytes) {
  if (!kKeeps || bytes > kLargest) return ::operator new(bytes);
  const std::size_t size = rounded(bytes);
  if (Lists* of = lists()) {
    Lists::List& list = of->by_size[size / kStep - 1];
    if (list.first != nullptr) {
      list.bytes -= size;
      return std::exchange(list.first, list.first->next);
    }
  }
  return ::operator new(size);
}

void give_recycled(void* block, std::size_t bytes) noexcept {
  if (kKeeps && bytes <= kLargest) {
    const std::size_t size = rounded(bytes);
    if (Lists* of = lists()) {
      Lists::List& list = of->by_size[size / kStep - 1];
      if (list.bytes + size <= kKeptBytes) {
        list.bytes += size;
        list.first = new (block) Block{list.first};
        return;
      }
    }
  }
  ::operator delete(block);
}

}  // namespace servoir
