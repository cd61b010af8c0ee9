#include "memory/arena_view.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/checked.h"
#include "memory/arena_error.h"

namespace servoir {

Result<ArenaView> ArenaView::map(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return Status::FromErrno("looking at the arena's descriptor", errno);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes == 0) return Status::FailedPrecondition("the descriptor given as the arena's is empty");
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (memory == MAP_FAILED) {
    return arena_error("mapping the arena of " + std::to_string(bytes) + " bytes", errno);
  }
  return ArenaView(static_cast<std::byte*>(memory), bytes);
}

ArenaView::ArenaView(ArenaView&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), size_(std::exchange(other.size_, 0)) {}

ArenaView& ArenaView::operator=(ArenaView&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_, other.size_);
  return *this;
}

ArenaView::~ArenaView() {
  if (base_ != nullptr) munmap(base_, size_);
}

Result<std::byte*> ArenaView::resolve(std::uint64_t offset, std::uint64_t bytes) const {
  if (!within(offset, bytes, size_)) {
    return Status::Internal("the range of " + std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                            " is not inside the arena of " + std::to_string(size_) + " bytes");
  }
  return base_ + offset;
}

}  // namespace servoir
