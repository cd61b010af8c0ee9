#include "net/watched_fds.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/mutex.h"

namespace servoir {
namespace {

// The highest limit of descriptors that the server sets for itself, and that kernels allow by default.
constexpr std::size_t kMost = 1U << 20U;
constexpr std::size_t kBits = 64;

// Held while the process forks: otherwise a number could be closed, and reused for another file, after it has left the
// list and before the fork.
constinit Mutex g_mutex;
// A bit for each number, so that the child needs no memory of its own to go through them.
constinit std::array<std::uint64_t, kMost / kBits> g_watched SERVOIR_GUARDED_BY(g_mutex){};
constinit std::size_t g_words SERVOIR_GUARDED_BY(g_mutex) = 0;  // that have ever had a bit

void before_fork() SERVOIR_ACQUIRE(g_mutex) { g_mutex.lock(); }
void after_fork_in_parent() SERVOIR_RELEASE(g_mutex) { g_mutex.unlock(); }
void after_fork_in_child() SERVOIR_RELEASE(g_mutex) {
  for (std::size_t word = 0; word < g_words; ++word) {
    for (std::uint64_t bits = g_watched[word]; bits != 0; bits &= bits - 1) {
      ::close(static_cast<int>(word * kBits) + std::countr_zero(bits));
    }
    g_watched[word] = 0;
  }
  g_words = 0;
  g_mutex.unlock();
}

[[maybe_unused]] const int g_registered = ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);

}  // namespace

template <class Open>
WatchedFd WatchedFd::opened(const Open& open) {
  WatchedFd result;
  const MutexLock lock(&g_mutex);
  result.fd_ = open();
  const auto number = static_cast<std::size_t>(result.fd_);
  if (result.fd_ >= 0 && number < kMost) {
    g_watched[number / kBits] |= std::uint64_t{1} << number % kBits;
    g_words = std::max(g_words, number / kBits + 1);
  }
  return result;
}

WatchedFd::WatchedFd(UniqueFd fd) : WatchedFd(opened([&] { return fd.release(); })) {}

WatchedFd WatchedFd::accept(int listening) {
  return opened([&] { return ::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); });
}

WatchedFd WatchedFd::socket(int family, int protocol) {
  return opened([&] { return ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol); });
}

void WatchedFd::close() {
  if (fd_ < 0) return;
  const auto number = static_cast<std::size_t>(fd_);
  const MutexLock lock(&g_mutex);
  if (number < kMost) g_watched[number / kBits] &= ~(std::uint64_t{1} << number % kBits);
  ::close(std::exchange(fd_, -1));
}

}  // namespace servoir
