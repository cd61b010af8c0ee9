// Alarm: calls a function in an event loop for each of many parties, at the earliest of the times that any thread has
// asked for on a party's behalf. Once it has called for a party, the times of that party are forgotten.
//
// It is made and destroyed in the loop's thread, or while the loop does not run, and lives until what was posted to the
// loop has run.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "net/event_loop.h"
#include "net/timer.h"

namespace servoir {

class Alarm {
 public:
  // A number that the caller chooses.
  using Party = std::uint64_t;

  Alarm(EventLoop* loop, std::function<void(Party)> on_time);
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  // Any thread. A time that is later than one asked for before changes nothing, in whichever order they come.
  void want(Party party, Clock::time_point when);
  // In the loop: it does not call any more.
  void cancel();

 private:
  void set(Party party, Clock::time_point when);
  void ring();

  EventLoop* const loop_;
  const std::function<void(Party)> on_time_;
  // In the loop only.
  std::set<std::pair<Clock::time_point, Party>> order_;
  std::unordered_map<Party, Clock::time_point> wanted_;
  bool cancelled_ = false;
  Timer timer_;
};

}  // namespace servoir
