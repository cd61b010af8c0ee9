#include "net/event_loop.h"

#include <pthread.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace servoir {
namespace {

thread_local const EventLoop* current_loop = nullptr;

}  // namespace

struct EventLoop::Loop {
  boost::asio::io_context context{1};  // one thread runs it
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{context.get_executor()};
  std::thread thread;
  std::atomic<bool> stopped{false};

  // For those who wait for the loop.
  Mutex mutex;
  CondVar changed;
  bool running SERVOIR_GUARDED_BY(mutex) = false;
};

EventLoop::EventLoop(std::uint32_t number) : number_(number), loop_(std::make_unique<Loop>()) {}

EventLoop::~EventLoop() { stop(); }

void EventLoop::start() {
  {
    const MutexLock lock(&loop_->mutex);
    loop_->running = true;
  }
  loop_->thread = std::thread([this] {
    pthread_setname_np(pthread_self(), "servoir-io");
    current_loop = this;
    loop_->context.run();
    current_loop = nullptr;
  });
}

void EventLoop::stop() {
  if (loop_->stopped.exchange(true)) return;
  loop_->context.stop();
  if (loop_->thread.joinable()) loop_->thread.join();
  const MutexLock lock(&loop_->mutex);
  loop_->running = false;
  loop_->changed.notify_all();
}

void EventLoop::post(std::function<void()> work) { boost::asio::post(loop_->context, std::move(work)); }

void EventLoop::run_and_wait(const std::function<void()>& work) {
  bool done = false;
  if (!here()) {
    const MutexLock lock(&loop_->mutex);
    if (loop_->running) {
      post([this, &work, &done] {
        work();
        const MutexLock in_loop(&loop_->mutex);
        done = true;
        loop_->changed.notify_all();
      });
    }
    // A loop that ends leaves what it has not come to.
    while (!done && loop_->running) loop_->changed.wait(&loop_->mutex);
  }
  if (!done) work();
}

bool EventLoop::here() const { return current_loop == this; }

boost::asio::io_context& EventLoop::context() { return loop_->context; }

void EventLoop::want_turn_end() {
  if (turn_end_scheduled_) return;
  turn_end_scheduled_ = true;
  // It runs after all that is ready now, and after what has become ready meanwhile: the loop looks once more before the
  // second step. So what several connections send at about the same time is in the same turn, and in one batch.
  boost::asio::post(loop_->context, [this] { boost::asio::post(loop_->context, [this] { end_turn(); }); });
}

void EventLoop::end_turn() {
  bool again = true;
  while (again) {
    again = false;
    for (const TurnEndStep& step : steps_) again = step() || again;
  }
  turn_end_scheduled_ = false;
}

}  // namespace servoir
