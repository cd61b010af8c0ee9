#include "worker/model_lane.h"

#include <string>
#include <utility>

namespace servoir {

ModelLane::ModelLane(std::unique_ptr<WorkerLane> lane, const ArenaView* arena,
                     std::function<void(const Status&)> on_broken)
    : lane_(std::move(lane)), arena_(arena), on_broken_(std::move(on_broken)) {}

ModelLane::~ModelLane() {
  stop();
  join();
}

Status ModelLane::add(std::uint32_t callee, BatchRunner runner) {
  if (!runners_.try_emplace(callee, std::move(runner)).second) {
    return Status::AlreadyExists("callee " + std::to_string(callee) + " has a model already");
  }
  return Status::Ok();
}

void ModelLane::start() {
  // No signal is blocked in it: a process that a model in Python starts would inherit that, and could not be ended by
  // SIGTERM. (The kernel gives signals to the main thread where it can; Python runs their handlers there in any case.)
  thread_ = std::thread([this] {
    if (Status status = loop(); !status.ok()) on_broken_(status);
  });
}

void ModelLane::stop() { lane_.stop(); }

void ModelLane::join() {
  if (thread_.joinable()) thread_.join();
}

Status ModelLane::loop() {
  RunTask task;
  RowsResult result;
  TaskRooms rooms(arena_, &lane_);
  while (true) {
    SERVOIR_ASSIGN_OR_RETURN(const bool got, lane_.next(&task, -1));
    if (!got) return Status::Ok();
    const auto found = runners_.find(task.head.callee);
    if (found == runners_.end()) {
      return Status::Internal("the server sent a batch for callee " + std::to_string(task.head.callee) +
                              ", which is no model of this worker");
    }
    rooms.begin(task.head);
    found->second.run(task, &rooms, &result);
    SERVOIR_RETURN_IF_ERROR(lane_.done(result));
  }
}

}  // namespace servoir
