// LaneWatch: takes the results of a lane to the scheduler whenever the worker says that there are any.
//
// It belongs to the thread of its relay's loop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "channel/lane.h"
#include "net/fd_watch.h"
#include "schedule/scheduler.h"
#include "service/answer_relay.h"

namespace servoir {

class LaneWatch final : public FdEvents, public std::enable_shared_from_this<LaneWatch> {
 public:
  // `event`: taken from the lane. `broken` is called once, in that thread, when the worker breaks the
  // protocol; after that nothing is read from the lane.
  LaneWatch(service::AnswerRelay* relay, Scheduler* scheduler, std::shared_ptr<ServerLane> lane, UniqueFd event,
            AttachmentId id, std::function<void(AttachmentId, std::string)> broken);

  void start();
  // Takes the results that are there, and stops watching.
  void finish();
  // Stops watching.
  void close() { watch_.close(); }
  void on_readable() override;

 private:
  // Returns whether the worker will raise the eventfd for the next record.
  bool drain();
  void fail(const Status& why);

  service::AnswerRelay* const relay_;
  Scheduler* const scheduler_;
  const std::shared_ptr<ServerLane> lane_;
  const AttachmentId id_;
  const std::function<void(AttachmentId, std::string)> broken_;
  FdWatch watch_;
  bool failed_ = false;
};

}  // namespace servoir
