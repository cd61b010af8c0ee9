// AnswerRelay: brings the scheduler's answers back to the event loop that their requests came from, and has the
// scheduler pumped once at the end of a turn, so that what came in together is batched together. One for each loop.
//
// deliver() may be called by any thread, all else only in the loop's.
#pragma once

#include <memory>
#include <vector>

#include "base/mutex.h"
#include "metrics/counter.h"
#include "net/event_loop.h"
#include "request/request.h"
#include "schedule/scheduler.h"

namespace servoir::service {

// Gets answers for the calls that it has submitted.
class AnswerReceiver {
 public:
  // `call` is what was given to deliver(), with the answer or a part of it.
  virtual void on_answer(void* call, std::shared_ptr<Request> request, bool last) const = 0;

 protected:
  ~AnswerReceiver() = default;
};

class AnswerRelay {
 public:
  // Before the loop is started. Both outlive it.
  AnswerRelay(EventLoop* loop, Scheduler* scheduler, const metrics::Scope& figures);
  AnswerRelay(const AnswerRelay&) = delete;
  AnswerRelay& operator=(const AnswerRelay&) = delete;

  [[nodiscard]] EventLoop* loop() const { return loop_; }
  // Hands a request to the scheduler at once; its batch is closed at the end of the turn at the earliest.
  void submit(std::shared_ptr<Request> request);
  // The scheduler is pumped at the end of this turn.
  void need_pump();
  // Hands the answer to a call to its receiver in the loop; at once when called there. The call must live until then.
  void deliver(const AnswerReceiver* receiver, void* call, std::shared_ptr<Request> request, bool last);
  // Once the loop has stopped: hands over the answers that are on their way, so that nobody waits for one of them for
  // ever.
  void finish();

 private:
  void take_answers();

  struct Delivery {
    const AnswerReceiver* receiver = nullptr;
    void* call = nullptr;
    std::shared_ptr<Request> request;
    bool last = true;
  };
  EventLoop* const loop_;
  Scheduler* const scheduler_;
  bool pump_needed_ = false;
  metrics::Counter requests_;
  Mutex mutex_;
  std::vector<Delivery> waiting_ SERVOIR_GUARDED_BY(mutex_);
  std::vector<Delivery> taken_;
};

}  // namespace servoir::service
