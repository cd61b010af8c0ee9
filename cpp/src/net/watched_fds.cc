#include "net/watched_fds.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

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

void add_watched_fd(int fd) {
  const auto number = static_cast<std::size_t>(fd);
  if (fd < 0 || number >= kMost) return;
  const MutexLock lock(&g_mutex);
  g_watched[number / kBits] |= std::uint64_t{1} << number % kBits;
  g_words = std::max(g_words, number / kBits + 1);
}

void close_watched_fd(int fd) {
  const auto number = static_cast<std::size_t>(fd);
  const MutexLock lock(&g_mutex);
  if (fd >= 0 && number < kMost) g_watched[number / kBits] &= ~(std::uint64_t{1} << number % kBits);
  ::close(fd);
}

}  // namespace servoir
