// Adder: a worker in a thread, for tests and for measuring: its one function adds 1 to float32 values.
//
// It attaches to a lane of a Server as a worker process would, and speaks the channel's real messages.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "channel/lane.h"
#include "channel/message.h"
#include "memory/arena_view.h"
#include "server/server.h"

namespace servoir {

// Servable `name` with the method "predict": y = add(x).
inline ServableSpec adder_spec(std::string name = "w1", std::uint32_t max_batch = 64) {
  ServableSpec spec;
  spec.name = std::move(name);
  CalleeSpec add;
  add.name = "add";
  add.inputs = 1;
  add.outputs = 1;
  add.max_batch = max_batch;
  spec.callees.push_back(add);
  MethodSpec method;
  method.name = "predict";
  method.inputs = {"x"};
  method.output_names = {"y"};
  StageSpec stage;
  stage.callee = 0;
  stage.inputs = {0};
  stage.first_output = 1;
  stage.outputs = 1;
  method.stages.push_back(stage);
  method.outputs = {1};
  method.values = 2;
  spec.methods.push_back(method);
  return spec;
}

class Adder {
  // Lanes of the same name are those of one worker.
  static std::string next_name() {
    static std::atomic<int> started{0};
    return "the test's worker " + std::to_string(++started);
  }

 public:
  // `before_batch` is called in the worker's thread before each batch is run.
  Adder(Server* server, ServableId servable, std::function<void()> before_batch = {})
      : server_(server), before_batch_(std::move(before_batch)) {
    shared_ = server->open_lane().value();
    view_ = std::make_unique<ArenaView>(ArenaView::map(server->arena_fd()).value());
    lane_ = WorkerLane::attach(UniqueFd(::dup(shared_->memory_fd())), UniqueFd(::dup(shared_->event_fd()))).value();
    thread_ = std::thread([this] { run(); });
    const std::uint32_t callee = 0;
    attachment_ = server->attach_lane(servable, shared_, {&callee, 1}, next_name()).value();
  }
  ~Adder() { die("the test is over"); }
  Adder(const Adder&) = delete;
  Adder& operator=(const Adder&) = delete;

  // As a worker that ends: its thread is gone when the lane is detached.
  void die(const std::string& reason) {
    if (!thread_.joinable()) return;
    lane_->stop();
    thread_.join();
    (void)server_->detach_lane(attachment_, reason);  // fails after Server::stop, which has detached it
  }
  // Writes a record that no worker may write.
  void send_nonsense() { nonsense_.store(true); }
  // From now on the sum of the values instead: little goes back, so that only the way there costs.
  void sum_up() { sums_.store(true); }
  [[nodiscard]] AttachmentId attachment() const { return attachment_; }
  [[nodiscard]] std::uint64_t batches() const { return batches_.load(); }
  [[nodiscard]] std::uint64_t rows() const { return rows_.load(); }

 private:
  void run() {
    RunTask task;
    MessageWriter writer;
    while (true) {
      if (!ahead_.empty()) {
        task = std::move(ahead_.front());
        ahead_.pop_front();
      } else {
        const auto record = lane_->wait(-1);
        if (!record.ok() || !record.value().has_value()) return;
        if (!read_run(*record.value(), &task).ok()) return;
        lane_->release();
      }
      if (before_batch_) before_batch_();
      if (nonsense_.load()) {
        const std::uint64_t nothing[2] = {~0ULL, ~0ULL};
        (void)lane_->post(std::as_bytes(std::span(nothing)));
        continue;
      }
      if (!answer(task, &writer)) return;
    }
  }

  bool answer(const RunTask& task, MessageWriter* writer) {
    const RunTask::Input& input = task.inputs.at(0);
    std::uint64_t bytes = 0;
    for (const RowRun& piece : input.pieces) bytes += piece.rows * (sums_ ? sizeof(float) : row_bytes(input));
    std::uint64_t room = task.head.room_offset;
    if (bytes > task.head.room_bytes) {
      writer->clear();
      writer->put(NeedRoomHead{RecordKind::kNeedRoom, 0, task.head.task, bytes});
      if (!lane_->post(writer->bytes()).ok()) return false;
      const std::optional<RoomHead> room_head = wait_for_room();
      if (!room_head) return false;
      const RoomHead given = *room_head;
      if (given.failed != 0) return fail(task, writer);
      room = given.offset;
    }
    auto* out = reinterpret_cast<float*>(view_->resolve(room, bytes).value());
    OutputPiece output{room, row_bytes(input), task.head.rows, input.dtype, {}, input.row_shape};
    if (sums_) {
      output.row_bytes = sizeof(float);
      output.row_shape = Shape{};
    }
    for (const RowRun& piece : input.pieces) {
      for (std::uint64_t row = 0; row < piece.rows; ++row) {
        const std::uint64_t size = row_bytes(input);
        const auto* in =
            reinterpret_cast<const float*>(view_->resolve(piece.offset + row * piece.row_bytes, size).value());
        if (sums_) {
          *out++ = sum(in, size / sizeof(float));
        } else {
          for (std::uint64_t i = 0; i < size / sizeof(float); ++i) *out++ = in[i] + 1.0F;
        }
      }
    }
    result_.id = task.head.task;
    result_.rows = task.head.rows;
    result_.run_ns = 0;
    result_.outputs.resize(1);
    result_.outputs[0].assign(1, output);
    result_.failures.clear();
    batches_.fetch_add(1);
    rows_.fetch_add(task.head.rows);
    writer->clear();
    write_done(result_, writer);
    return lane_->post(writer->bytes()).ok();
  }

  // Batches that were posted before the room come first in the ring; they are kept for later.
  std::optional<RoomHead> wait_for_room() {
    while (true) {
      const auto record = lane_->wait(-1);
      if (!record.ok() || !record.value().has_value()) return std::nullopt;
      MessageReader reader(*record.value());
      if (reader.kind().value() == RecordKind::kRoom) {
        const RoomHead head = *reader.get<RoomHead>();
        lane_->release();
        return head;
      }
      if (!read_run(*record.value(), &ahead_.emplace_back()).ok()) return std::nullopt;
      lane_->release();
    }
  }

  bool fail(const RunTask& task, MessageWriter* writer) {
    RowsResult failed;
    failed.id = task.head.task;
    failed.rows = task.head.rows;
    for (std::uint32_t row = 0; row < task.head.rows; ++row) {
      RowsResult::Failure failure{row, Code::kResourceExhausted, {}};
      failure.text = "no room for the outputs";
      failed.failures.push_back(std::move(failure));
    }
    writer->clear();
    write_done(failed, writer);
    return lane_->post(writer->bytes()).ok();
  }

  static float sum(const float* values, std::uint64_t count) {
    float lanes[16] = {};  // independent sums, which the compiler keeps in registers
    std::uint64_t i = 0;
    for (; i + 16 <= count; i += 16) {
      for (std::uint64_t k = 0; k < 16; ++k) lanes[k] += values[i + k];
    }
    float total = 0;
    for (; i < count; ++i) total += values[i];
    for (const float lane : lanes) total += lane;
    return total;
  }

  static std::uint64_t row_bytes(const RunTask::Input& input) { return input.row_shape.byte_size(input.dtype).value(); }

  Server* server_;
  std::function<void()> before_batch_;
  std::shared_ptr<ServerLane> shared_;
  std::unique_ptr<ArenaView> view_;
  std::unique_ptr<WorkerLane> lane_;
  std::atomic<bool> nonsense_{false};
  std::atomic<bool> sums_{false};
  std::atomic<std::uint64_t> batches_{0};
  std::atomic<std::uint64_t> rows_{0};
  RowsResult result_;
  std::deque<RunTask> ahead_;
  AttachmentId attachment_ = 0;
  std::thread thread_;
};

}  // namespace servoir
