// ModelLane: the thread of a worker that runs models, from its rings.
//
// add() the models, then start(). The lane runs until stop() (any thread), or until the channel breaks: `on_broken` is
// then called, on the lane's thread. The destructor stops and waits. The arena's mapping outlives the lane.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "base/status.h"
#include "channel/lane.h"
#include "memory/arena_view.h"
#include "worker/batch_runner.h"
#include "worker/task_lane.h"

namespace servoir {

class ModelLane {
 public:
  ModelLane(std::unique_ptr<WorkerLane> lane, const ArenaView* arena, std::function<void(const Status&)> on_broken);
  ~ModelLane();
  ModelLane(const ModelLane&) = delete;
  ModelLane& operator=(const ModelLane&) = delete;

  // The model that the callee of this number runs. AlreadyExists if there is one.
  [[nodiscard]] Status add(std::uint32_t callee, BatchRunner runner);
  void start();
  // The batch that runs is finished and answered.
  void stop();
  void join();

 private:
  [[nodiscard]] Status loop();

  TaskLane lane_;
  const ArenaView* arena_;
  std::function<void(const Status&)> on_broken_;
  std::map<std::uint32_t, BatchRunner> runners_;
  std::thread thread_;
};

}  // namespace servoir
