#include "worker/private_view.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/checked.h"

namespace servoir {
namespace {

// An entry of /proc/PID/pagemap (see the kernel's admin-guide/mm/pagemap): a page that is there or swapped out, and no
// page of a file, is a copy.
constexpr std::uint64_t kPresent = 1ULL << 63U;
constexpr std::uint64_t kSwapped = 1ULL << 62U;
constexpr std::uint64_t kOfFile = 1ULL << 61U;
constexpr std::uint64_t kLeastRead = 8;  // entries
constexpr std::uint64_t kMostRead = 4096;

std::uint64_t page_bytes() {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

// Of all threads: functions may compute with several.
std::uint64_t page_faults() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_minflt) + static_cast<std::uint64_t>(usage.ru_majflt);
}

}  // namespace

Result<PrivateView> PrivateView::map(int arena_fd) {
  struct stat info {};
  if (::fstat(arena_fd, &info) != 0) return Status::FromErrno("looking at the arena's descriptor", errno);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  UniqueFd pages(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pages.valid()) {
    return Status::Unimplemented("/proc/self/pagemap cannot be read: " + std::string(std::strerror(errno)));
  }
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, arena_fd, 0);
  if (memory == MAP_FAILED) {
    return Status::Unimplemented("there can be no private mapping of " + std::to_string(bytes) +
                                 " bytes: " + std::string(std::strerror(errno)));
  }
  PrivateView view(static_cast<std::byte*>(memory), bytes, std::move(pages));
  if (!view.works()) {
    ::munmap(memory, bytes);
    return Status::Unimplemented("/proc/self/pagemap does not show which pages were copied");
  }
  return view;
}

bool PrivateView::works() {
  entries_.clear();
  if (is_copy(0, 1)) return false;
  auto* const first = reinterpret_cast<volatile std::uint8_t*>(base_);
  *first = *first;
  entries_.clear();
  const bool seen = is_copy(0, 1);
  ::madvise(base_, page_bytes(), MADV_DONTNEED);
  return seen;
}

Result<std::byte*> PrivateView::resolve(std::uint64_t offset, std::uint64_t bytes) const {
  if (!within(offset, bytes, size_)) {
    return Status::Internal("the range of " + std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                            " is not inside the arena of " + std::to_string(size_) + " bytes");
  }
  return base_ + offset;
}

void PrivateView::watch() { faults_ = page_faults(); }

bool PrivateView::changed() const { return page_faults() != faults_; }

bool PrivateView::is_copy(std::uint64_t page, std::uint64_t ahead) {
  if (page < first_entry_ || page - first_entry_ >= entries_.size()) {
    const std::uint64_t of_base = reinterpret_cast<std::uintptr_t>(base_) / page_bytes();
    entries_.assign(std::clamp(ahead, kLeastRead, kMostRead), 0);
    first_entry_ = page;
    const ssize_t got = ::pread(pages_.get(), entries_.data(), entries_.size() * sizeof(entries_[0]),
                                static_cast<off_t>((of_base + page) * sizeof(entries_[0])));
    entries_.resize(got > 0 ? static_cast<std::size_t>(got) / sizeof(entries_[0]) : 0);
    if (entries_.empty()) return true;  // to write what has not changed is no harm
  }
  const std::uint64_t entry = entries_[page - first_entry_];
  return (entry & (kPresent | kSwapped)) != 0 && (entry & kOfFile) == 0;
}

bool PrivateView::settle(const ArenaView& arena, std::span<const Range> ranges, Changes changes) {
  const std::uint64_t page_size = page_bytes();
  entries_.clear();
  copies_.clear();
  for (const Range& range : ranges) {
    if (range.bytes == 0) continue;
    const std::uint64_t end = range.offset + range.bytes;
    const std::uint64_t pages_end = (end - 1) / page_size + 1;
    for (std::uint64_t page = range.offset / page_size; page < pages_end; ++page) {
      if (!is_copy(page, pages_end - page)) continue;
      const std::uint64_t from = std::max(range.offset, page * page_size);
      const std::uint64_t bytes = std::min(end, (page + 1) * page_size) - from;
      if (changes == Changes::kKeep) {
        if (const auto to = arena.resolve(from, bytes); to.ok()) std::memcpy(*to, base_ + from, bytes);
      }
      const bool continues = !copies_.empty() && copies_.back().offset + copies_.back().bytes == page * page_size;
      if (continues) {
        copies_.back().bytes += page_size;
      } else {
        copies_.push_back({page * page_size, page_size});
      }
    }
  }
  // Only now, for ranges may share a page.
  for (const Range& copy : copies_) ::madvise(base_ + copy.offset, copy.bytes, MADV_DONTNEED);
  return !copies_.empty();
}

}  // namespace servoir
