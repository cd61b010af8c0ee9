// CallbackThread: runs callbacks that may block, in order, on one thread of its own, so that the threads that enqueue
// them do not wait.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "base/mutex.h"

namespace servoir {

class CallbackThread {
 public:
  CallbackThread() = default;
  ~CallbackThread() { stop(); }
  CallbackThread(const CallbackThread&) = delete;
  CallbackThread& operator=(const CallbackThread&) = delete;

  // Any thread may call it. False after stop() or finish(): the callback is dropped.
  bool enqueue(std::function<void()> callback);
  // Ends the thread after the callback that is running. Must not be called from a callback.
  void stop() { end(false); }
  // Ends the thread after all callbacks that it has.
  void finish() { end(true); }

 private:
  void run();
  void end(bool run_all);

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> waiting_ SERVOIR_GUARDED_BY(mutex_);
  bool stopped_ SERVOIR_GUARDED_BY(mutex_) = false;
  bool run_all_ SERVOIR_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // started by the first callback, under the mutex; after stopped_ is set nobody starts it
};

}  // namespace servoir
