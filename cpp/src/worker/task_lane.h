// TaskLane: the conversation of one lane of a worker with the server.
//
// Runs come one after the other, and the next may be in the ring already while the current one is worked on. The answer
// to a question that the lane asks for its current task (more room, a model call) comes through the same ring, so runs
// that come first are kept, in order. Used by the lane's one thread; stop() and interrupt() by any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>

#include "base/mutex.h"
#include "base/status.h"
#include "channel/lane.h"
#include "channel/message.h"

namespace servoir {

// Arena memory that a task may write to.
struct Room {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

// Where a task gets more room from; tests have their own.
class RoomSource {
 public:
  virtual ~RoomSource() = default;
  // ResourceExhausted when the server has no memory.
  [[nodiscard]] virtual Result<Room> more_room(std::uint64_t task, std::uint64_t bytes) = 0;
};

class TaskLane final : public RoomSource {
 public:
  explicit TaskLane(std::unique_ptr<WorkerLane> lane) : lane_(std::move(lane)) {}

  // The next task to run, into *task. False after stop(), when timeout_ms (< 0: none) has passed, or after
  // interrupt(). An error means that the server and this worker do not understand each other: the lane cannot be used
  // any more.
  [[nodiscard]] Result<bool> next(RunTask* task, int timeout_ms);
  // Each task is answered once. Error texts that do not fit the ring are cut.
  [[nodiscard]] Status done(const RowsResult& result);
  [[nodiscard]] Result<Room> more_room(std::uint64_t task, std::uint64_t bytes) override;
  // Sends the call (of the current task; its number is set here) and waits for its result.
  [[nodiscard]] Status call_model(CallRequest* request, RowsResult* result);

  // next() gives nothing from now on. A task that is being run may still ask for room, call and be answered.
  void stop();
  // A next() that waits, or else the next that would, gives nothing, once. Any thread.
  void interrupt() { lane_->interrupt(); }
  [[nodiscard]] bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

 private:
  // The next record that is not a run; it stays in the ring until release().
  [[nodiscard]] Result<std::span<const std::byte>> answer();

  std::unique_ptr<WorkerLane> lane_;
  std::deque<RunTask> waiting_runs_;
  MessageWriter writer_;
  std::uint64_t calls_ = 0;
  std::atomic<bool> stopped_{false};
  Mutex mutex_;                                        // orders stop() against a next() that is about to wait
  bool listening_ SERVOIR_GUARDED_BY(mutex_) = false;  // next() may be waiting in the ring
};

}  // namespace servoir
