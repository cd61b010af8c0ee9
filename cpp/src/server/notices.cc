#include "server/notices.h"

#include <utility>

namespace servoir {

void Notices::call(std::function<void()> notice) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  waiting_.push_back(std::move(notice));
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  changed_.notify_one();
}

void Notices::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Notices::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
    if (stopped_) return;
    const std::function<void()> notice = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    notice();
    lock.lock();
  }
}

}  // namespace servoir
