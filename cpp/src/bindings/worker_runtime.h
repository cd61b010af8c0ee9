// WorkerRuntime: a worker process's arena, lanes, functions and models, as Python sees them.
//
// A process has one WorkerRuntime. Arrays on the arena may outlive it, so the arena's mapping is kept as long as the
// process. serve_functions() runs in the main thread, the model lane has its own; stop() may be called by any.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "function_runner.h"
#include "memory/arena_view.h"
#include "worker/batch_runner.h"
#include "worker/model_lane.h"
#include "worker/server_watch.h"
#include "worker/task_lane.h"

namespace servoir::bindings {

class WorkerRuntime {
 public:
  // `mark_rooms`: see RoomMarks::Extent::kWhole.
  static Result<std::unique_ptr<WorkerRuntime>> create(int arena_fd, int control_fd, bool mark_rooms);
  ~WorkerRuntime();  // after stop() and join(), because the model lane may need the interpreter lock
  WorkerRuntime(const WorkerRuntime&) = delete;
  WorkerRuntime& operator=(const WorkerRuntime&) = delete;

  [[nodiscard]] Status add_function(std::uint32_t callee, FunctionRunner::Function function);
  [[nodiscard]] Status add_model(std::uint32_t callee, ModelSetup setup);
  [[nodiscard]] Status serve_models(int memory_fd, int event_fd);
  [[nodiscard]] Status serve_functions(int memory_fd, int event_fd);
  // The caller holds the interpreter lock, which is released while the call is under way. Throws py::error_already_set
  // for wrong values.
  [[nodiscard]] Result<py::tuple> call_model(std::uint32_t callee, const py::sequence& instances);
  // A signal has come: serve_functions() runs its Python handler, at once if it has nothing else to do.
  void interrupt();
  void stop();
  void join();

 private:
  WorkerRuntime(const ArenaView* arena, PrivateView* view) : arena_(arena), functions_(arena, view) {}
  [[nodiscard]] Status function_loop(TaskLane* lane);

  const ArenaView* arena_;
  RoomMarks::Extent marks_ = RoomMarks::Extent::kEnd;
  std::unique_ptr<ServerWatch> watch_;
  FunctionRunner functions_;
  std::vector<std::pair<std::uint32_t, BatchRunner>> models_;  // until their lane is made
  std::unique_ptr<ModelLane> model_lane_;
  std::atomic<bool> stopping_{false};
  Mutex lanes_;  // guards the two lanes' pointers against stop(); model_lane_ is set once, in the main thread
  TaskLane* function_lane_ SERVOIR_GUARDED_BY(lanes_) = nullptr;  // while serve_functions() runs

  // Of the task that a function is running; set by the function lane's thread.
  TaskRooms* rooms_ = nullptr;
  TaskLane* task_lane_ = nullptr;
  std::uint64_t task_ = 0;
  std::thread::id function_thread_;
  ValueTable call_values_;
  RowsResult call_result_;
};

}  // namespace servoir::bindings
