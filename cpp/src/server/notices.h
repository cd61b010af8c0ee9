// Notices: calls somebody who may take his time, one call after the other on a thread of its own, so that the threads
// that have something to say need not wait.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace servoir {

class Notices {
 public:
  Notices() = default;
  ~Notices() { stop(); }
  Notices(const Notices&) = delete;
  Notices& operator=(const Notices&) = delete;

  // Any thread. Dropped after stop().
  void call(std::function<void()> notice);
  // Ends the thread after the call that is running; not from such a call.
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;  // guarded by mutex_
  std::thread thread_;                         // started by the first call
  bool stopped_ = false;                       // guarded by mutex_
};

}  // namespace servoir
