// PrivateView: the arena as functions see their inputs, so that what they change there is their own at first.
//
// A function may change its inputs in place, and later stages see that. But when its worker dies before the batch is
// done, another worker runs the batch again, and must find the inputs as they were. So functions are given a second
// mapping of the arena, which is private to this process: it shows the arena's pages, and the first write to a page
// makes a copy of that page, by the kernel. Once the batch is done, settle() brings the changes into the arena and
// drops the copies. A function that only reads costs a look at one counter: that of the page faults of this process,
// since each such copy is one.
//
// Used by the function lane's thread. The mapping stays for the life of the process, for arrays on it may be kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"
#include "memory/arena_view.h"

namespace servoir {

class PrivateView {
 public:
  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };
  enum class Changes : std::uint8_t { kKeep, kDrop };

  // Unimplemented where the system has no such mapping (strict accounting of memory), or does not show which pages were
  // copied (no /proc/self/pagemap).
  static Result<PrivateView> map(int arena_fd);

  // As ArenaView::resolve().
  [[nodiscard]] Result<std::byte*> resolve(std::uint64_t offset, std::uint64_t bytes) const;

  // From now on changed() says whether something was written.
  void watch();
  // Whether something may have been written since watch(). False is certain.
  [[nodiscard]] bool changed() const;
  // What was written to these ranges comes into the arena, or is dropped; afterwards they show the arena again. Returns
  // whether something was written.
  bool settle(const ArenaView& arena, std::span<const Range> ranges, Changes changes);

 private:
  PrivateView(std::byte* base, std::uint64_t size, UniqueFd pages)
      : base_(base), size_(size), pages_(std::move(pages)) {}
  [[nodiscard]] bool works();
  // Whether this page, counted from base_, is a copy. `ahead`: how many pages are asked for next.
  [[nodiscard]] bool is_copy(std::uint64_t page, std::uint64_t ahead);

  std::byte* base_;
  std::uint64_t size_;
  UniqueFd pages_;            // /proc/self/pagemap
  std::uint64_t faults_ = 0;  // at watch()

  // Of one settle().
  std::vector<std::uint64_t> entries_;  // of pages_
  std::uint64_t first_entry_ = 0;
  std::vector<Range> copies_;
};

}  // namespace servoir
