// Scheduled: a call or exchange whose message becomes a request of the scheduler.
//
// The service's handler reads the message, submits the request, and writes the answer; what lies between is here. The
// request is kept as the call's state. It is cancelled when the call ends early; the call is held until the answer has
// come, wherever it is by then.
#pragma once

#include <memory>
#include <utility>

#include "request/request.h"
#include "service/answer_relay.h"
#include "service/service.h"

namespace servoir::service {

// `Call`: grpc::Call or http::Exchange.
template <class Call>
class Scheduled : public AnswerReceiver {
 public:
  explicit Scheduled(const Frontend* frontend) : frontend_(frontend) {}

  // Hands the request to the scheduler; on_answer() follows. A late one is refused.
  void submit(Call& call, std::shared_ptr<Request> request) const {
    if (call.is_late()) {
      request.reset();
      refuse(call, Status::Unavailable("the server is being stopped; try again later, or ask another one"));
      return;
    }
    call.hold();
    // Two pointers fit into the function object without an allocation. The call stays where it is while it is held.
    request->answer = [this, &call](std::shared_ptr<Request> answered, bool last) {
      frontend_->relay(call.loop())->deliver(this, &call, std::move(answered), last);
    };
    call.state = request;
    frontend_->relay(call.loop())->submit(std::move(request));
  }

  // The call is over: its request is dropped, if it was submitted.
  void cancel(Call& call, const Status& why) const {
    if (const auto request = std::static_pointer_cast<Request>(std::exchange(call.state, nullptr))) {
      if (request->answer) frontend_->scheduler->cancel(request, why);
    }
  }

  void on_answer(void* object, std::shared_ptr<Request> request, bool last) const final {
    Call& call = *static_cast<Call*>(object);
    if (call.is_live()) {
      if (last) call.state.reset();
      write_answer(call, request, last);
    }
    if (!last) return;
    request.reset();  // before the call may go: it holds memory of the server's
    call.let_go();    // may be the end of the call
  }

 protected:
  ~Scheduled() = default;
  [[nodiscard]] const Frontend& frontend() const { return *frontend_; }
  // Answers the call with what is the server's affair, and no error of the request's.
  virtual void refuse(Call& call, const Status& why) const = 0;
  // Answers the call, which is live; for each part of the answer, where there are several.
  virtual void write_answer(Call& call, const std::shared_ptr<Request>& request, bool last) const = 0;

 private:
  const Frontend* const frontend_;
};

}  // namespace servoir::service
