#include "service/answer_relay.h"

#include <utility>

namespace servoir::service {

AnswerRelay::AnswerRelay(EventLoop* loop, Scheduler* scheduler, const metrics::Scope& figures)
    : loop_(loop),
      scheduler_(scheduler),
      requests_(figures, {"servoir_requests", "Requests of clients that were given to the scheduler."}) {
  // The workers are set going before answers are written, so that both go on at the same time: the relay is made before
  // the loop's connections.
  loop->at_turn_end([this] { return std::exchange(pump_needed_, false) && (scheduler_->pump(), true); });
}

void AnswerRelay::need_pump() {
  pump_needed_ = true;
  loop_->want_turn_end();
}

void AnswerRelay::submit(std::shared_ptr<Request> request) {
  requests_.add();
  need_pump();
  scheduler_->submit(std::move(request));
}

void AnswerRelay::deliver(const AnswerReceiver* receiver, void* call, std::shared_ptr<Request> request, bool last) {
  if (loop_->here()) {
    receiver->on_answer(call, std::move(request), last);
    return;
  }
  bool first = false;
  {
    const MutexLock lock(&mutex_);
    first = waiting_.empty();
    waiting_.push_back({receiver, call, std::move(request), last});
  }
  if (first) loop_->post([this] { take_answers(); });
}

void AnswerRelay::take_answers() {
  {
    const MutexLock lock(&mutex_);
    taken_.swap(waiting_);
  }
  for (Delivery& delivery : taken_) {
    delivery.receiver->on_answer(delivery.call, std::move(delivery.request), delivery.last);
  }
  taken_.clear();
}

void AnswerRelay::finish() { take_answers(); }

}  // namespace servoir::service
