// Recycled: an allocator for small things that come and go with every request.
//
// Each thread keeps what it gives back in lists by size, and hands it out again: that costs a few instructions, where
// malloc keeps only seven blocks of a size close at hand and a batch gives back dozens at a time. Any thread may give
// back what another has taken. Under AddressSanitizer nothing is kept, so that it sees what is used too late.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace servoir {

// A block of so many bytes, aligned as by operator new. Throws std::bad_alloc.
[[nodiscard]] void* take_recycled(std::size_t bytes);
// `bytes`: as it was taken.
void give_recycled(void* block, std::size_t bytes) noexcept;

template <class T>
struct Recycled {
  using value_type = T;
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

  Recycled() = default;
  template <class U>
  Recycled(const Recycled<U>& /*other*/) noexcept {}  // NOLINT(google-explicit-constructor): as std::allocator has

  [[nodiscard]] T* allocate(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(take_recycled(count * sizeof(T)));
  }
  void deallocate(T* block, std::size_t count) noexcept { give_recycled(block, count * sizeof(T)); }
  template <class U>
  bool operator==(const Recycled<U>& /*other*/) const noexcept {
    return true;
  }
};

template <class T>
using RecycledVector = std::vector<T, Recycled<T>>;

}  // namespace servoir
