// Mutex, MutexLock and CondVar: those of the standard library, with the words that let clang check their use
// (base/thread_annotations.h). The standard library's own have none.
//
//   Mutex mutex_;
//   std::deque<Task> waiting_ SERVOIR_GUARDED_BY(mutex_);
//   …
//   MutexLock lock(&mutex_);
//   while (waiting_.empty()) changed_.wait(&mutex_);
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/thread_annotations.h"

namespace servoir {

class SERVOIR_CAPABILITY("mutex") Mutex {
 public:
  constexpr Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() = default;

  void lock() SERVOIR_ACQUIRE() { mutex_.lock(); }
  void unlock() SERVOIR_RELEASE() { mutex_.unlock(); }
  // Tells clang, in a function that cannot say so in its declaration, that the caller holds this mutex. Does nothing.
  void assert_held() const SERVOIR_ASSERT_HELD() {}

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// Holds the mutex while the object lives. It may release the mutex before its end, and take it again.
class SERVOIR_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) SERVOIR_ACQUIRE(mutex) : mutex_(mutex) { mutex_->lock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() SERVOIR_RELEASE() {
    if (held_) mutex_->unlock();
  }

  void unlock() SERVOIR_RELEASE() {
    held_ = false;
    mutex_->unlock();
  }
  void lock() SERVOIR_ACQUIRE() {
    mutex_->lock();
    held_ = true;
  }

 private:
  Mutex* mutex_;
  bool held_ = true;
};

// Waits release the mutex and take it again before they return. They may also return for no reason, so the caller
// looks at its condition in a loop. Clang then sees that what the condition reads is guarded.
class CondVar {
 public:
  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }

  void wait(Mutex* mutex) SERVOIR_REQUIRES(mutex) {
    std::unique_lock lock(mutex->mutex_, std::adopt_lock);
    changed_.wait(lock);
    (void)lock.release();  // the caller still holds it
  }
  // False if the time has passed.
  template <typename Clock, typename Duration>
  bool wait_until(Mutex* mutex, std::chrono::time_point<Clock, Duration> time) SERVOIR_REQUIRES(mutex) {
    std::unique_lock lock(mutex->mutex_, std::adopt_lock);
    const bool in_time = changed_.wait_until(lock, time) == std::cv_status::no_timeout;
    (void)lock.release();
    return in_time;
  }

 private:
  std::condition_variable changed_;
};

}  // namespace servoir
