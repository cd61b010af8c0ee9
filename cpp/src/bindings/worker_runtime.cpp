#include "worker_runtime.h"

#include <unistd.h>

#include <atomic>
#include <string>

#include "base/log.h"
#include "channel/lane.h"
#include "forked_child.h"

namespace servoir::bindings {
namespace {

void channel_broken(const Status& status) {
  SERVOIR_ERROR("this worker ends, its channel to the server is broken: " + std::string(status.message()));
  ::_exit(1);
}

// Releases the interpreter lock for the life of this object. (pybind11's own class does more than is needed here.)
class WithoutLock {
 public:
  WithoutLock() : state_(PyEval_SaveThread()) {}
  ~WithoutLock() { PyEval_RestoreThread(state_); }
  WithoutLock(const WithoutLock&) = delete;
  WithoutLock& operator=(const WithoutLock&) = delete;

 private:
  PyThreadState* state_;
};

// Has the server see how many records the log leaves out, during the life of this object.
class LeftOutRecords {
 public:
  explicit LeftOutRecords(std::atomic<std::uint64_t>* place) { log_count_left_out_in(place); }
  ~LeftOutRecords() { log_count_left_out_in(nullptr); }
  LeftOutRecords(const LeftOutRecords&) = delete;
  LeftOutRecords& operator=(const LeftOutRecords&) = delete;
};

// Releases the interpreter lock while the server looks for more room.
class RoomsWithoutLock final : public RoomSource {
 public:
  explicit RoomsWithoutLock(TaskLane* lane) : lane_(lane) {}
  [[nodiscard]] Result<Room> more_room(std::uint64_t task, std::uint64_t bytes) override {
    const WithoutLock unlocked;
    return lane_->more_room(task, bytes);
  }

 private:
  TaskLane* lane_;
};

// What is taken of the rooms during the life of this object is free afterwards.
class RoomsOfCall {
 public:
  explicit RoomsOfCall(TaskRooms* rooms) : rooms_(rooms), mark_(rooms->mark()) {}
  ~RoomsOfCall() { rooms_->rewind(mark_); }
  RoomsOfCall(const RoomsOfCall&) = delete;
  RoomsOfCall& operator=(const RoomsOfCall&) = delete;

 private:
  TaskRooms* rooms_;
  TaskRooms::Mark mark_;
};

}  // namespace

Result<std::unique_ptr<WorkerRuntime>> WorkerRuntime::create(int arena_fd, int control_fd, bool mark_rooms) {
  SERVOIR_ASSIGN_OR_RETURN(ArenaView view, ArenaView::map(arena_fd));
  // Arrays that functions keep lie on it: it stays mapped until the process ends.
  const auto* arena = new ArenaView(std::move(view));  // NOLINT: see above
  PrivateView* inputs = nullptr;
  if (auto mapped = PrivateView::map(arena_fd); mapped.ok()) {
    inputs = new PrivateView(std::move(*mapped));  // NOLINT: as the arena
  } else {
    SERVOIR_INFO("functions get copies of their inputs: " + std::string(mapped.status().message()));
  }
  std::unique_ptr<WorkerRuntime> made(new WorkerRuntime(arena, inputs));  // NOLINT: the constructor is private
  know_forked_children();
  if (mark_rooms) made->marks_ = RoomMarks::Extent::kWhole;
  SERVOIR_ASSIGN_OR_RETURN(made->watch_, ServerWatch::start(control_fd));
  return made;
}

WorkerRuntime::~WorkerRuntime() {
  stop();
  join();
}

Status WorkerRuntime::add_function(std::uint32_t callee, FunctionRunner::Function function) {
  return functions_.add(callee, std::move(function));
}

Status WorkerRuntime::add_model(std::uint32_t callee, ModelSetup setup) {
  if (model_lane_ != nullptr) return Status::FailedPrecondition("models are to be added before serve_models()");
  setup.marks = marks_;
  SERVOIR_ASSIGN_OR_RETURN(BatchRunner runner, BatchRunner::create(std::move(setup), arena_));
  models_.emplace_back(callee, std::move(runner));
  return Status::Ok();
}

Status WorkerRuntime::serve_models(int memory_fd, int event_fd) {
  UniqueFd memory(memory_fd);
  UniqueFd event(event_fd);
  if (model_lane_ != nullptr) return Status::FailedPrecondition("serve_models() has been called before");
  SERVOIR_ASSIGN_OR_RETURN(auto attached, WorkerLane::attach(std::move(memory), std::move(event)));
  auto lane = std::make_unique<ModelLane>(std::move(attached), arena_, channel_broken);
  for (auto& [callee, runner] : models_) SERVOIR_RETURN_IF_ERROR(lane->add(callee, std::move(runner)));
  models_.clear();
  const MutexLock lock(&lanes_);
  model_lane_ = std::move(lane);
  model_lane_->start();
  if (stopping_) model_lane_->stop();
  return Status::Ok();
}

Status WorkerRuntime::serve_functions(int memory_fd, int event_fd) {
  SERVOIR_ASSIGN_OR_RETURN(auto attached, WorkerLane::attach(UniqueFd(memory_fd), UniqueFd(event_fd)));
  std::atomic<std::uint64_t>* const left_out = attached->left_out_records();
  TaskLane lane(std::move(attached));
  const LeftOutRecords counted(left_out);
  {
    const MutexLock lock(&lanes_);
    if (function_lane_ != nullptr) return Status::FailedPrecondition("serve_functions() is running already");
    if (stopping_) return Status::Ok();
    function_lane_ = &lane;
  }
  Status status = function_loop(&lane);
  const MutexLock lock(&lanes_);
  function_lane_ = nullptr;
  return status;
}

Status WorkerRuntime::function_loop(TaskLane* lane) {
  RunTask task;
  RowsResult result;
  RoomsWithoutLock source(lane);
  TaskRooms rooms(arena_, &source);
  function_thread_ = std::this_thread::get_id();
  while (!lane->stopped()) {
    // A task that is there already costs no hand-over of the interpreter lock.
    SERVOIR_ASSIGN_OR_RETURN(bool got, lane->next(&task, 0));
    if (!got) {
      const WithoutLock unlocked;
      SERVOIR_ASSIGN_OR_RETURN(got, lane->next(&task, -1));
    }
    if (got) {
      rooms.begin(task.head);
      rooms_ = &rooms;
      task_lane_ = lane;
      task_ = task.head.task;
      Status status = functions_.run(task, &rooms, &result);
      rooms_ = nullptr;
      SERVOIR_RETURN_IF_ERROR(status);
      SERVOIR_RETURN_IF_ERROR(lane->done(result));
    }
    if (PyErr_CheckSignals() != 0) {
      // A signal handler raised an exception, as Python's own does for SIGINT.
      SERVOIR_INFO("stopped by a signal: " + take_error_text());
      stop();
    } else if (functions_.interrupted()) {
      stop();
    }
  }
  return Status::Ok();
}

Result<py::tuple> WorkerRuntime::call_model(std::uint32_t callee, const py::sequence& instances) {
  if (rooms_ == nullptr || std::this_thread::get_id() != function_thread_) {
    return Status::FailedPrecondition(
        "a model can be called only by a stage function that serves a request, and in its own thread");
  }
  if (is_forked_child()) {
    return Status::FailedPrecondition(
        "a model can be called in the worker's own process only, not in a child that a stage has forked; call it "
        "before, and give the child what it returned");
  }
  const std::size_t rows = instances.size();
  if (rows == 0) return Status::InvalidArgument("a model call needs at least one instance");
  CallRequest request;
  request.task = task_;
  // The inputs are of no use when the call has been answered.
  const RoomsOfCall rooms_of_inputs(rooms_);
  request.callee = callee;
  request.rows = static_cast<std::uint32_t>(rows);
  std::size_t columns = 0;
  std::vector<py::object> kept;
  std::vector<py::handle> values;
  for (std::size_t row = 0; row < rows; ++row) {
    const py::object instance = instances[row];
    if (!py::isinstance<py::tuple>(instance) && !py::isinstance<py::list>(instance)) {
      return Status::InvalidArgument("instance " + std::to_string(row) +
                                     " of a model call should be a list or tuple of " + "inputs, but is " +
                                     Py_TYPE(instance.ptr())->tp_name);
    }
    const auto inputs = py::reinterpret_borrow<py::sequence>(instance);
    if (row == 0) {
      columns = inputs.size();
      call_values_.begin(request.rows, static_cast<std::uint32_t>(columns), rooms_);
    } else if (inputs.size() != columns) {
      return Status::InvalidArgument("instance " + std::to_string(row) + " of a model call has " +
                                     std::to_string(inputs.size()) + " inputs, instance 0 has " +
                                     std::to_string(columns));
    }
    kept.clear();
    values.clear();
    for (std::size_t i = 0; i < columns; ++i) {
      kept.push_back(inputs[i]);
      values.push_back(kept.back());
    }
    if (Status status = call_values_.set(request.rows - static_cast<std::uint32_t>(rows - row), values.data());
        !status.ok()) {
      return Status(status.code(), "instance " + std::to_string(row) + ": " + std::string(status.message()));
    }
  }
  call_values_.finish(&request.inputs);
  request.released = functions_.take_unused_calls();
  {
    const WithoutLock unlocked;
    SERVOIR_RETURN_IF_ERROR(task_lane_->call_model(&request, &call_result_));
  }
  if (!call_result_.failures.empty()) {
    const RowsResult::Failure& first = call_result_.failures.front();
    const std::string which = rows > 1 ? "instance " + std::to_string(first.row) + ": " : "";
    return Status(first.code, which + first.text);
  }
  std::vector<py::tuple> made;
  for (std::size_t row = 0; row < rows; ++row) made.emplace_back(call_result_.outputs.size());
  for (std::size_t k = 0; k < call_result_.outputs.size(); ++k) {
    std::size_t row = 0;
    for (const OutputPiece& piece : call_result_.outputs[k]) {
      for (std::uint32_t i = 0; i < piece.rows && row < rows; ++i, ++row) {
        SERVOIR_ASSIGN_OR_RETURN(std::byte* const data,
                                 arena_->resolve(piece.offset + i * piece.row_bytes, piece.row_bytes));
        py::object value = value_on(piece.dtype, piece.row_shape, data, piece.row_bytes);
        if (!value) throw py::error_already_set();
        functions_.lend(request.call, is_view(piece.dtype, piece.row_shape) ? value : py::object());
        made[row][k] = std::move(value);
      }
    }
  }
  py::tuple results(rows);
  for (std::size_t row = 0; row < rows; ++row) results[row] = std::move(made[row]);
  return results;
}

void WorkerRuntime::interrupt() {
  const MutexLock lock(&lanes_);
  if (function_lane_ != nullptr) function_lane_->interrupt();
}

void WorkerRuntime::stop() {
  const MutexLock lock(&lanes_);
  stopping_ = true;
  if (model_lane_ != nullptr) model_lane_->stop();
  if (function_lane_ != nullptr) function_lane_->stop();
}

void WorkerRuntime::join() {
  if (model_lane_ != nullptr) model_lane_->join();
}

}  // namespace servoir::bindings
