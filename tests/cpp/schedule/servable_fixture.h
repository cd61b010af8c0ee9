// What the scheduler's tests share: a small servable, requests for it, and a lane that keeps what is posted to it.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "channel/lane.h"
#include "channel/message.h"
#include "memory/arena.h"
#include "memory/slab.h"
#include "schedule/scheduler.h"
#include "support/small_servable.h"

namespace servoir {

class FakeLane final : public LanePort {
 public:
  bool post(std::span<const std::byte> record) override {
    if (full) return false;
    const Result<RecordKind> kind = MessageReader(record).kind();
    EXPECT_TRUE(kind.ok());
    if (*kind == RecordKind::kRun) {
      RunTask task;
      EXPECT_TRUE(read_run(record, &task).ok());
      tasks.push_back(task);
    } else if (*kind == RecordKind::kCalled) {
      RowsResult result;
      EXPECT_TRUE(read_rows_result(record, &result).ok());
      called.push_back(result);
    } else {
      rooms.push_back(*MessageReader(record).get<RoomHead>());
    }
    return true;
  }
  [[nodiscard]] std::uint32_t max_record() const override { return record_limit; }

  std::deque<RunTask> tasks;
  std::deque<RowsResult> called;
  std::deque<RoomHead> rooms;
  bool full = false;
  std::uint32_t record_limit = 1U << 20U;
};

class SchedulerTest : public ::testing::Test {
 protected:
  explicit SchedulerTest(std::uint64_t arena_bytes = 64U << 20U) {
    arena = std::move(Arena::create(arena_bytes)).value();
    slabs = std::make_unique<SlabPool>(arena.get());
    Scheduler::Hooks hooks;
    hooks.wake_at = [this](ServableId id, Clock::time_point at) { wakes[id] = at; };
    hooks.overdue = [this](AttachmentId id, std::string why) { overdue.emplace_back(id, std::move(why)); };
    hooks.now = [this] { return virtual_now == Clock::time_point{} ? Clock::now() : virtual_now; };
    scheduler = std::make_unique<Scheduler>(slabs.get(), &figures, hooks);
  }
  // Requests hold arena memory, so they go first.
  ~SchedulerTest() override {
    answered.clear();
    scheduler.reset();
    slabs.reset();
  }

  ServableId publish(std::vector<CalleeSpec> callees, std::vector<MethodSpec> methods, std::uint64_t version = 1,
                     const std::string& name = "s") {
    ServableSpec spec;
    spec.name = name;
    spec.version = version;
    spec.callees = std::move(callees);
    spec.methods = std::move(methods);
    Result<ServableId> id = scheduler->publish(std::move(spec));
    EXPECT_TRUE(id.ok()) << id.status().message();
    return *id;
  }

  AttachmentId attach(ServableId id, FakeLane* lane, std::vector<std::uint32_t> callees,
                      const std::string& name = "worker") {
    Result<AttachmentId> lane_id = scheduler->attach(id, lane, callees, name);
    EXPECT_TRUE(lane_id.ok()) << lane_id.status().message();
    return *lane_id;
  }

  TensorRef floats(const Shape& shape, float value, std::uint64_t consumer = 1) {
    return floats_in(slabs.get(), shape, value, consumer);
  }

  std::shared_ptr<Request> request(const std::string& method, std::vector<TensorRef> instances,
                                   std::uint64_t version = 0, const std::string& servable = "s") {
    auto found = scheduler->find(servable, version, method);
    EXPECT_TRUE(found.ok()) << found.status().message();
    auto made = make_request(*found, static_cast<std::uint32_t>(instances.size()));
    for (std::uint32_t i = 0; i < instances.size(); ++i) made->at(0, i) = instances[i];
    made->answer = [this](std::shared_ptr<Request> done, bool last) {
      EXPECT_TRUE(last);
      answered.push_back(std::move(done));
    };
    return made;
  }

  std::shared_ptr<Request> submit(const std::string& method, std::vector<TensorRef> instances) {
    auto made = request(method, std::move(instances));
    scheduler->submit(made);
    return made;
  }

  static float first_float(const std::byte* data) {
    float value = 0;
    std::memcpy(&value, data, sizeof(value));
    return value;
  }

  // The first element of each row of the task's first input.
  std::vector<float> rows_of(const RunTask& task) {
    std::vector<float> values;
    for (const RowRun& piece : task.inputs[0].pieces) {
      for (std::uint64_t r = 0; r < piece.rows; ++r) {
        values.push_back(first_float(arena->base() + piece.offset + r * piece.row_bytes));
      }
    }
    return values;
  }

  // Plays the worker for a task of one output: every row's result is one float, its input plus `add`. `fails` maps rows
  // to error texts.
  Status finish(AttachmentId lane_id, const RunTask& task, float add,
                const std::map<std::uint32_t, std::string>& fails = {}) {
    RowsResult result;
    result.id = task.head.task;
    result.rows = task.head.rows;
    result.run_ns = run_ns;
    const std::vector<float> inputs = rows_of(task);
    std::vector<OutputPiece> pieces;
    for (std::uint32_t r = 0; r < task.head.rows; ++r) {
      OutputPiece piece;
      piece.rows = 1;
      if (const auto fail = fails.find(r); fail != fails.end()) {
        result.failures.push_back({r, Code::kInternal, fail->second});
      } else {
        piece.offset = task.head.room_offset + r * sizeof(float);
        piece.row_bytes = sizeof(float);
        piece.dtype = DataType::kFloat32;
        piece.row_shape = {1};
        const float value = inputs[r] + add;
        std::memcpy(arena->base() + piece.offset, &value, sizeof(value));
      }
      pieces.push_back(piece);
    }
    if (fails.size() < task.head.rows) result.outputs.push_back(pieces);
    MessageWriter writer;
    write_done(result, &writer);
    return scheduler->on_record(lane_id, writer.bytes());
  }

  // The earliest time at which the scheduler wants to be ticked.
  [[nodiscard]] Clock::time_point wake() const {
    Clock::time_point earliest = Clock::time_point::max();
    for (const auto& [id, at] : wakes) earliest = std::min(earliest, at);
    return earliest;
  }
  // Ticks the versions that want it by then.
  void tick(Clock::time_point now) {
    const auto asked = wakes;
    for (const auto& [id, at] : asked) {
      if (at > now) continue;
      wakes.erase(id);
      scheduler->tick(id, now);
    }
  }

  static float output(const Request& request, std::uint32_t instance) {
    return first_float(request.at(request.method->spec->outputs[0], instance).data());
  }

  std::unique_ptr<Arena> arena;
  std::unique_ptr<SlabPool> slabs;
  metrics::Registry figures;
  std::unique_ptr<Scheduler> scheduler;
  std::map<ServableId, Clock::time_point> wakes;              // what the scheduler has asked for last
  std::vector<std::pair<AttachmentId, std::string>> overdue;  // lanes of which it has told, and why
  Clock::time_point virtual_now{};                            // once it is set, what the scheduler takes for the time
  std::vector<std::shared_ptr<Request>> answered;
  std::uint64_t run_ns = 1000;  // of the tasks that finish()
};

}  // namespace servoir
