#include "server/callback_thread.h"

#include <utility>

namespace servoir {

bool CallbackThread::enqueue(std::function<void()> callback) {
  const MutexLock lock(&mutex_);
  if (stopped_) return false;
  waiting_.push_back(std::move(callback));
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  changed_.notify_one();
  return true;
}

void CallbackThread::end(bool run_all) {
  {
    const MutexLock lock(&mutex_);
    stopped_ = true;
    run_all_ = run_all;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void CallbackThread::run() {
  MutexLock lock(&mutex_);
  while (true) {
    while (!stopped_ && waiting_.empty()) changed_.wait(&mutex_);
    if (waiting_.empty() || (stopped_ && !run_all_)) return;
    const std::function<void()> callback = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    callback();
    lock.lock();
  }
}

}  // namespace servoir
