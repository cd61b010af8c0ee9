// ArenaView: the worker's end of the arena. It maps the whole file and checks every offset.
//
// Any thread may resolve offsets. The view owns the mapping; the bytes belong to the task that the server gave the room
// to.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "memory/size_class.h"

namespace servoir {

class ArenaView {
 public:
  // Maps the file; the caller keeps the descriptor.
  static Result<ArenaView> map(int fd);
  ArenaView(ArenaView&& other) noexcept;
  ArenaView& operator=(ArenaView&& other) noexcept;
  ArenaView(const ArenaView&) = delete;
  ArenaView& operator=(const ArenaView&) = delete;
  ~ArenaView();

  // The result is never null. Internal if the range lies outside of the arena.
  [[nodiscard]] Result<std::byte*> resolve(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  ArenaView(std::byte* base, std::uint64_t size) : base_(base), size_(size) {}
  std::byte* base_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace servoir
