#include "memory/trimmer.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "memory/size_class.h"

namespace servoir {
namespace {

constexpr std::uint64_t kWarm = 64ULL << 20U;  // free memory that is kept in any case
constexpr std::uint64_t kReleaseChunk = 8ULL << 20U;
constexpr std::chrono::milliseconds kTick(250);

}  // namespace

Trimmer::Trimmer(int fd, std::uint64_t pages, Mutex* mutex, std::function<void()> flush)
    : fd_(fd), mutex_(mutex), flush_(std::move(flush)), extents_(pages, kSegment / kPage) {}

Trimmer::~Trimmer() { stop(); }

Status Trimmer::start() {
  // The thread handles no signals, because the main thread does.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Status started;
  try {
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "arena-trim");
      run();
    });
  } catch (const std::system_error& error) {
    started = Status::FromErrno("starting the arena's thread", error.code().value());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

void Trimmer::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

std::uint64_t Trimmer::resident_bytes() const { return extents_.resident() * kPage; }

std::uint64_t Trimmer::free_resident_bytes() const { return extents_.free_resident() * kPage; }

std::optional<std::uint64_t> Trimmer::take(std::uint64_t count) {
  const std::optional<std::uint64_t> first = extents_.take(count);
  if (first.has_value()) window_peak_ = std::max(window_peak_, taken_bytes());
  return first;
}

void Trimmer::give(PageRange range) {
  extents_.give(range);
  if (!excess_ && free_resident_bytes() > kWarm) {
    excess_ = true;
    wake_.notify_one();
  }
}

void Trimmer::wait_until_released() {
  mutex_->assert_held();
  ++waiting_;
  while (releasing_ != 0) released_.wait(mutex_);
  if (--waiting_ == 0) released_.notify_all();
}

void Trimmer::release_all() {
  mutex_->assert_held();
  while (extents_.free_resident() > 0 && release_chunk(kReleaseChunk)) {
    while (waiting_ != 0) released_.wait(mutex_);
  }
}

// Gives a free range of at most `bytes` back to the kernel. The mutex is not held meanwhile, because that takes time.
bool Trimmer::release_chunk(std::uint64_t bytes) {
  const std::uint64_t most = (std::min(bytes, kReleaseChunk) + kPage - 1) / kPage;
  const std::optional<PageRange> range = extents_.take_for_release(most);
  if (!range.has_value()) return false;
  ++releasing_;
  mutex_->unlock();
  const int failure = fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(range->first * kPage), static_cast<off_t>(range->count * kPage)) == 0
                          ? 0
                          : errno;
  mutex_->lock();
  --releasing_;
  if (failure == 0) {
    extents_.give_cold(*range);
  } else {
    extents_.give(*range);
    if (!std::exchange(has_failed_, true)) {
      SERVOIR_WARNING(Status::FromErrno("giving free memory of the arena back to the kernel", failure).message());
    }
  }
  released_.notify_all();
  return failure == 0;
}

void Trimmer::run() {
  const MutexLock lock(mutex_);
  std::uint64_t recent = 0;
  while (!stopping_) {
    excess_ = free_resident_bytes() > kWarm;
    if (!excess_) {
      recent = 0;
      window_peak_ = taken_bytes();
      while (!stopping_ && !excess_) wake_.wait(mutex_);
      continue;
    }
    const auto tick = std::chrono::steady_clock::now() + kTick;
    while (!stopping_ && wake_.wait_until(mutex_, tick)) {
    }
    recent = std::max(window_peak_, recent - recent / 4);
    window_peak_ = taken_bytes();
    const std::uint64_t keep = std::max(taken_bytes() + kWarm, recent);
    if (resident_bytes() > keep) flush_();
    // A caller that waits for memory goes first; the next tick continues here.
    while (!stopping_ && waiting_ == 0 && resident_bytes() > keep && free_resident_bytes() > kWarm) {
      if (!release_chunk(resident_bytes() - keep)) break;
    }
  }
}

}  // namespace servoir
