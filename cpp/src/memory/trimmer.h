// Trimmer: the arena's pages, and the thread that gives pages that stay free back to the kernel.
//
// As many pages stay resident as were taken at any time within the last second or so, and at least 64 MiB more than are
// taken now. The rest is given back by punching holes into the file. So a load that comes in waves finds its memory
// again, and a spike is forgotten. The thread sleeps unless there is something to give back.
//
// The mutex is the arena's. Everything but start() and stop() is called with the mutex held.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <thread>

#include "base/mutex.h"
#include "base/status.h"
#include "memory/extents.h"

namespace servoir {

inline constexpr std::uint64_t kSegment = 32ULL << 20U;  // by which the arena grows, in bytes

class Trimmer {
 public:
  // `flush` makes the owner give() the pages that it does not use. File and mutex must outlive the trimmer.
  Trimmer(int fd, std::uint64_t pages, Mutex* mutex, std::function<void()> flush);
  ~Trimmer();  // as stop()
  Trimmer(const Trimmer&) = delete;
  Trimmer& operator=(const Trimmer&) = delete;

  // Starts the thread. Without the thread free pages stay resident until release_all().
  [[nodiscard]] Status start();
  void stop();

  // Takes consecutive pages and returns the first. Nothing if there are none.
  [[nodiscard]] std::optional<std::uint64_t> take(std::uint64_t count);
  void give(PageRange range);
  // Waits until no pages are on their way back to the kernel, because such pages are neither free nor taken. No more
  // are sent on their way meanwhile, so this takes no longer than the release of a chunk.
  void wait_until_released();
  // Gives all free pages back at once.
  void release_all();
  // Bytes that the kernel holds for the arena, at most.
  [[nodiscard]] std::uint64_t resident_bytes() const;

 private:
  void run();
  bool release_chunk(std::uint64_t bytes) SERVOIR_REQUIRES(mutex_);
  [[nodiscard]] std::uint64_t free_resident_bytes() const;
  [[nodiscard]] std::uint64_t taken_bytes() const { return resident_bytes() - free_resident_bytes(); }

  const int fd_;
  Mutex* const mutex_;
  const std::function<void()> flush_;
  Extents extents_;
  CondVar wake_;                   // the thread has something to do, or is to end
  CondVar released_;               // a chunk has arrived at the kernel, or nobody waits for that any more
  std::uint64_t window_peak_ = 0;  // most bytes taken since the last tick
  unsigned releasing_ = 0;         // chunks that are on their way
  unsigned waiting_ = 0;           // callers of wait_until_released()
  bool excess_ = false;            // the thread has something to do
  bool stopping_ = false;
  bool has_failed_ = false;  // a chunk could not be given back, and the log says so
  std::thread thread_;
};

}  // namespace servoir
