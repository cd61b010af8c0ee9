#include "net/alarm.h"

#include <vector>

namespace servoir {

Alarm::Alarm(EventLoop* loop, std::function<void(Party)> on_time)
    : loop_(loop), on_time_(std::move(on_time)), timer_(loop, [this] { ring(); }) {}

void Alarm::want(Party party, Clock::time_point when) {
  if (loop_->here()) {
    set(party, when);
  } else {
    loop_->post([this, party, when] { set(party, when); });
  }
}

void Alarm::set(Party party, Clock::time_point when) {
  if (cancelled_) return;
  const auto [known, is_new] = wanted_.try_emplace(party, when);
  if (!is_new) {
    if (when >= known->second) return;
    order_.erase({known->second, party});
    known->second = when;
  }
  order_.emplace(when, party);
  if (order_.begin()->second == party) timer_.set(when);
}

void Alarm::ring() {
  const Clock::time_point now = Clock::now();
  std::vector<Party> due;
  while (!order_.empty() && order_.begin()->first <= now) {
    due.push_back(order_.begin()->second);
    wanted_.erase(due.back());
    order_.erase(order_.begin());
  }
  if (!order_.empty()) timer_.set(order_.begin()->first);
  for (const Party party : due) on_time_(party);
}

void Alarm::cancel() {
  cancelled_ = true;
  order_.clear();
  wanted_.clear();
  timer_.cancel();
}

}  // namespace servoir
