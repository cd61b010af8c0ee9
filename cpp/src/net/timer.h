// Timer: calls a function in an event loop at a time that can be set again and again. Belongs to the loop's thread.
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "net/event_loop.h"

namespace servoir {

class Timer {
 public:
  Timer(EventLoop* loop, std::function<void()> on_time);
  ~Timer();  // as cancel()
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void set(Clock::time_point when);  // replaces the last time
  void cancel();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace servoir
