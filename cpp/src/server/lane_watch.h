// LaneWatch: takes a lane's results to the scheduler whenever the worker says that there are any.
//
// Belongs to the I/O thread that it was made for.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/unique_fd.h"
#include "channel/lane.h"
#include "net/io_thread.h"
#include "schedule/scheduler.h"

namespace servoir {

class LaneWatch final : public FdEvents, public std::enable_shared_from_this<LaneWatch> {
 public:
  // `event`: a copy of the lane's event_fd. `broken` is told once, in the thread, when the worker breaks the protocol;
  // nothing is read from the lane any more then.
  LaneWatch(IoThread* thread, Scheduler* scheduler, std::shared_ptr<ServerLane> lane, UniqueFd event, LaneId id,
            std::function<void(LaneId, std::string)> broken);

  void start();
  // Takes the results that are still there, then looks no more.
  void finish();
  // Looks no more.
  void close() { watch_.close(); }
  void on_readable() override;

 private:
  // Returns whether the worker will raise the eventfd for the next record.
  bool drain();
  void fail(const Status& why);

  IoThread* const thread_;
  Scheduler* const scheduler_;
  const std::shared_ptr<ServerLane> lane_;
  const LaneId id_;
  const std::function<void(LaneId, std::string)> broken_;
  FdWatch watch_;
  bool failed_ = false;
};

}  // namespace servoir
