#include "schedule/scheduler.h"

#include <thread>

#include "servable_fixture.h"

namespace servoir {
namespace {

using std::chrono::milliseconds;

TEST_F(SchedulerTest, RunsAStageAndAnswers) {
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})});
  const LaneId lane_id = attach(id, &lane, {0});
  const auto r = submit("m", {floats({2}, 1), floats({2}, 2)});
  EXPECT_TRUE(lane.tasks.empty()) << "submit must not dispatch";
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 1U);
  EXPECT_EQ(rows_of(lane.tasks[0]), (std::vector<float>{1, 2}));
  EXPECT_EQ(lane.tasks[0].inputs[0].pieces.size(), 1U) << "neighbours in memory are one piece";
  EXPECT_TRUE(answered.empty());
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 10).ok());
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_TRUE(r->failure.ok());
  EXPECT_EQ(output(*r, 0), 11);
  EXPECT_EQ(output(*r, 1), 12);
}

TEST_F(SchedulerTest, WhatComesWhileTheLaneIsBusySharesTheNextBatch) {
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 4)}, {chain("m", {0})});
  const LaneId lane_id = attach(id, &lane, {0});
  submit("m", {floats({2}, 0)});
  scheduler->pump();
  for (int i = 1; i <= 3; ++i) {
    submit("m", {floats({2}, static_cast<float>(i))});
    scheduler->pump();
  }
  EXPECT_EQ(lane.tasks.size(), 1U) << "three of four do not fill a batch";
  submit("m", {floats({2}, 4)});
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 2U) << "a full batch is posted behind the running one";
  EXPECT_EQ(rows_of(lane.tasks[1]), (std::vector<float>{1, 2, 3, 4}));
  for (int i = 5; i <= 9; ++i) submit("m", {floats({2}, static_cast<float>(i))});
  scheduler->pump();
  EXPECT_EQ(lane.tasks.size(), 2U) << "the lane holds two tasks, no more";
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 0).ok());
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 3U);
  EXPECT_EQ(rows_of(lane.tasks[2]), (std::vector<float>{5, 6, 7, 8}));
}

TEST_F(SchedulerTest, DifferentShapesNeverShareABatch) {
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})});
  const LaneId lane_id = attach(id, &lane, {0});
  submit("m", {floats({2}, 1), floats({3}, 2), floats({2}, 3)});
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 1U);
  EXPECT_EQ(rows_of(lane.tasks[0]), (std::vector<float>{1, 3}));
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 0).ok());
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 2U);
  EXPECT_EQ(rows_of(lane.tasks[1]), (std::vector<float>{2}));
  EXPECT_TRUE(answered.empty());
  ASSERT_TRUE(finish(lane_id, lane.tasks[1], 0).ok());
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(output(*answered[0], 1), 2);
}

TEST_F(SchedulerTest, AFailedInstanceLeavesTheOthersAlone) {
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 8), function_callee("g", 1, 1, 8)}, {chain("m", {0, 1})});
  const LaneId lane_id = attach(id, &lane, {0, 1});
  const auto r = submit("m", {floats({2}, 1), floats({2}, 2), floats({2}, 3)});
  scheduler->pump();
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 0, {{1, "ValueError: no"}}).ok());
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 2U);
  EXPECT_EQ(rows_of(lane.tasks[1]), (std::vector<float>{1, 3}));
  ASSERT_TRUE(finish(lane_id, lane.tasks[1], 0).ok());
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_TRUE(r->errors[0].ok());
  EXPECT_EQ(r->errors[1].message(), "Call Function 's.f' Failed, method 'm', stage 1: ValueError: no");
  EXPECT_TRUE(r->errors[2].ok());
}

TEST_F(SchedulerTest, ModelInputsAreCheckedByTypeAndBytes) {
  FakeLane lane;
  const ServableId id = publish({model_callee("k.onnx", {2, 2}, 8)}, {chain("m", {0})});
  attach(id, &lane, {0});
  const auto r = submit("m", {floats({4}, 1), floats({3}, 2), floats({2, 2}, 3)});
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 1U);
  EXPECT_EQ(rows_of(lane.tasks[0]), (std::vector<float>{1, 3})) << "[4] and [2, 2] have the same bytes";
  EXPECT_EQ(lane.tasks[0].inputs[0].row_shape, (Shape{2, 2}));
  EXPECT_EQ(r->errors[1].code(), Code::kInvalidArgument);
  EXPECT_NE(r->errors[1].message().find("float32 [2, 2] of 16 bytes; given float32 [3] of 12 bytes"),
            std::string_view::npos)
      << r->errors[1].message();
}

TEST_F(SchedulerTest, IdleLanesShareTheInstances) {
  FakeLane a;
  FakeLane b;
  const ServableId id = publish({function_callee("f", 1, 1, 256)}, {chain("m", {0})});
  attach(id, &a, {0}, "a");
  attach(id, &b, {0}, "b");
  std::vector<TensorRef> instances;
  for (int i = 0; i < 20; ++i) instances.push_back(floats({2}, static_cast<float>(i)));
  submit("m", instances);
  scheduler->pump();
  ASSERT_EQ(a.tasks.size(), 1U);
  ASSERT_EQ(b.tasks.size(), 1U);
  EXPECT_EQ(a.tasks[0].head.rows, 10U);
  EXPECT_EQ(b.tasks[0].head.rows, 10U);
}

// Else all that waits would go to whichever lane is free first, and be answered when the last of it is done.
TEST_F(SchedulerTest, ASlowFunctionThatIsCalledSinglyTravelsWithFewInstances) {
  FakeLane a;
  FakeLane b;
  CalleeSpec function = function_callee("f", 1, 1, 256);
  function.called_singly = true;
  const ServableId id = publish({function}, {chain("m", {0})});
  const LaneId a_id = attach(id, &a, {0}, "a");
  attach(id, &b, {0}, "b");
  submit("m", std::vector<TensorRef>(20, floats({2}, 1)));
  scheduler->pump();
  ASSERT_EQ(a.tasks.size(), 1U);
  EXPECT_EQ(a.tasks[0].head.rows, 1U) << "how long it takes is not known yet";
  run_ns = 400'000;
  ASSERT_TRUE(finish(a_id, a.tasks[0], 0).ok());
  scheduler->pump();
  ASSERT_EQ(a.tasks.size(), 3U) << "two of 0.4 ms each, and the same again behind them";
  EXPECT_EQ(a.tasks[1].head.rows, 2U);
  EXPECT_EQ(a.tasks[2].head.rows, 2U);
}

TEST_F(SchedulerTest, ABatchThatTakesLongIsNotPostedAheadWhereAnotherLaneMayBeFreeSooner) {
  FakeLane a;
  FakeLane b;
  const ServableId id = publish({function_callee("f", 1, 1, 4)}, {chain("m", {0})});
  const LaneId a_id = attach(id, &a, {0}, "a");
  const LaneId b_id = attach(id, &b, {0}, "b");
  submit("m", std::vector<TensorRef>(20, floats({2}, 1)));
  scheduler->pump();
  run_ns = 40'000'000;
  ASSERT_TRUE(finish(a_id, a.tasks.at(0), 0).ok());
  scheduler->pump();
  EXPECT_EQ(a.tasks.size(), 2U);
  EXPECT_EQ(b.tasks.size(), 1U);
  ASSERT_TRUE(finish(b_id, b.tasks.at(0), 0).ok());
  scheduler->pump();
  EXPECT_EQ(b.tasks.size(), 2U);
}

TEST_F(SchedulerTest, ADeadWorkersBatchRunsElsewhereOnceThenFails) {
  FakeLane a;
  FakeLane b;
  const ServableId id = publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})});
  const LaneId lane_a = attach(id, &a, {0}, "worker a");
  const LaneId lane_b = attach(id, &b, {0}, "worker b");
  const auto r = submit("m", {floats({2}, 7)});
  scheduler->pump();
  FakeLane& first = a.tasks.empty() ? b : a;
  FakeLane& second = a.tasks.empty() ? a : b;
  scheduler->detach(&first == &a ? lane_a : lane_b, "killed by signal 9");
  ASSERT_EQ(second.tasks.size(), 1U) << "run again elsewhere";
  EXPECT_EQ(rows_of(second.tasks[0]), (std::vector<float>{7}));
  EXPECT_TRUE(answered.empty());
  scheduler->detach(&second == &a ? lane_a : lane_b, "killed by signal 9");
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(r->errors[0].code(), Code::kUnavailable);
  EXPECT_NE(r->errors[0].message().find("killed by signal 9"), std::string_view::npos) << r->errors[0].message();
  EXPECT_NE(r->errors[0].message().find("second worker"), std::string_view::npos);
}

TEST_F(SchedulerTest, WithNoOtherWorkerTheHeldBatchFailsAndTheQueueWaits) {
  FakeLane a;
  const ServableId id = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})});
  const LaneId lane_a = attach(id, &a, {0}, "worker a");
  const auto held = submit("m", {floats({2}, 1)});
  scheduler->pump();
  const auto waits = submit("m", {floats({2}, 2)});
  scheduler->detach(lane_a, "exit status 3");
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_NE(held->errors[0].message().find("worker a died while it ran this: exit status 3 (no other worker"),
            std::string_view::npos)
      << held->errors[0].message();
  FakeLane again;
  const LaneId lane_b = attach(id, &again, {0}, "worker a, again");
  ASSERT_EQ(again.tasks.size(), 1U) << "attach dispatches what waits";
  ASSERT_TRUE(finish(lane_b, again.tasks[0], 0).ok());
  EXPECT_EQ(output(*waits, 0), 2);
}

TEST_F(SchedulerTest, QueueDelayIsCountedFromTheOldest) {
  FakeLane lane;
  CalleeSpec callee = function_callee("f", 1, 1, 4);
  callee.max_queue_delay = milliseconds(50);
  const ServableId id = publish({callee}, {chain("m", {0})});
  attach(id, &lane, {0});
  const Clock::time_point before = Clock::now();
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  const Clock::time_point after = Clock::now();
  EXPECT_TRUE(lane.tasks.empty());
  EXPECT_GE(wake, before + milliseconds(50));
  EXPECT_LE(wake, after + milliseconds(50));
  const Clock::time_point due = wake;
  submit("m", {floats({2}, 2)});
  scheduler->pump();
  EXPECT_EQ(wake, due) << "a younger instance does not move it";
  scheduler->tick(due);
  ASSERT_EQ(lane.tasks.size(), 1U);
  EXPECT_EQ(lane.tasks[0].head.rows, 2U);
}

TEST_F(SchedulerTest, AFullBatchDoesNotWaitForTheDelay) {
  FakeLane lane;
  CalleeSpec callee = function_callee("f", 1, 1, 2);
  callee.max_queue_delay = std::chrono::hours(1);
  attach(publish({callee}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1), floats({2}, 2)});
  scheduler->pump();
  EXPECT_EQ(lane.tasks.size(), 1U);
}

TEST_F(SchedulerTest, DeadlineAnswersAndLeavesTheQueue) {
  FakeLane lane;
  attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  auto late = request("m", {floats({2}, 2)});
  late->deadline = Clock::now() + milliseconds(5);
  scheduler->submit(late);
  EXPECT_EQ(wake, late->deadline);
  scheduler->tick(late->deadline);
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(late->failure.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(lane.tasks.size(), 1U) << "it never costs the worker anything";
}

TEST_F(SchedulerTest, CancelDropsWhatWaitsAndForgetsWhatRuns) {
  FakeLane lane;
  const LaneId lane_id = attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  const auto running = submit("m", {floats({2}, 1)});
  const auto waiting = submit("m", {floats({2}, 2)});
  scheduler->pump();
  // A batch of one is full: both are posted, a third one waits.
  const auto third = submit("m", {floats({2}, 3)});
  scheduler->cancel(third, Status::Cancelled("gone"));
  scheduler->cancel(running, Status::Cancelled("gone"));
  EXPECT_EQ(answered.size(), 2U);
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 0).ok());
  ASSERT_TRUE(finish(lane_id, lane.tasks[1], 0).ok());
  scheduler->pump();
  EXPECT_EQ(answered.size(), 3U);
  EXPECT_EQ(running->failure.code(), Code::kCancelled);
  EXPECT_TRUE(waiting->failure.ok());
  EXPECT_EQ(lane.tasks.size(), 2U) << "the third never ran";
}

TEST_F(SchedulerTest, TooManyRequestsAreRefusedAtOnce) {
  FakeLane lane;
  attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  scheduler->set_max_enqueued_requests(2);
  submit("m", {floats({2}, 1)});
  submit("m", {floats({2}, 2)});
  const auto third = submit("m", {floats({2}, 3)});
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(third->failure.code(), Code::kResourceExhausted);
  EXPECT_NE(third->failure.message().find("the limit"), std::string_view::npos);
}

TEST_F(SchedulerTest, AMethodWithoutStagesReturnsItsInputs) {
  FakeLane lane;
  MethodSpec method = chain("m", {});
  attach(publish({function_callee("f", 1, 1, 1)}, {method}), &lane, {0});
  const auto r = submit("m", {floats({2}, 5)});
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(output(*r, 0), 5);
}

TEST_F(SchedulerTest, FindSaysWhatThereIs) {
  FakeLane lane;
  EXPECT_EQ(scheduler->find("s", 0, "m").status().message(),
            "servable 's' is not available; no servable is running yet");
  EXPECT_EQ(scheduler->find("s", 0, "m").status().code(), Code::kUnavailable);
  const ServableId one = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}, 1);
  for (const std::uint64_t version : {0U, 1U}) {
    const Status starting = scheduler->find("s", version, "m").status();
    EXPECT_EQ(starting.code(), Code::kUnavailable);
    EXPECT_TRUE(starting.message().ends_with("is not available; its workers are starting")) << starting.message();
  }
  attach(one, &lane, {0});
  const ServableId two = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}, 2);
  EXPECT_EQ((*scheduler->find("s", 0, "m"))->servable->version, 1U);
  FakeLane other;
  attach(two, &other, {0});
  EXPECT_EQ((*scheduler->find("s", 0, "m"))->servable->version, 2U);
  EXPECT_EQ((*scheduler->find("s", 1, "m"))->servable->version, 1U);
  EXPECT_EQ(scheduler->find("s", 3, "m").status().message(),
            "servable 's', version 3 is not available; running versions: 1, 2");
  EXPECT_EQ(scheduler->find("s", 0, "n").status().message(),
            "servable 's', version 2 has no method 'n'; its methods: 'm'");
  EXPECT_EQ(scheduler->find("t", 0, "m").status().message(), "servable 't' is not available; running servables: 's'");
  scheduler->withdraw(two, "");
  EXPECT_EQ((*scheduler->find("s", 0, "m"))->servable->version, 1U);
}

TEST_F(SchedulerTest, FindSaysWhyAVersionIsGone) {
  FakeLane lane;
  const auto run = [&](std::uint64_t version) {
    const ServableId id = publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})}, version);
    attach(id, &lane, {0});
    return id;
  };
  run(1);
  const ServableId second = run(2);
  scheduler->withdraw(second, "its workers keep crashing");
  for (const std::uint64_t version : {0, 2}) {
    const auto found = scheduler->find("s", version, "m");
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.status().code(), Code::kUnavailable);
    EXPECT_EQ(found.status().message(), "servable 's', version 2 is not available: its workers keep crashing");
  }
  EXPECT_TRUE(scheduler->find("s", 1, "m").ok());
  const ServableId again = run(2);
  EXPECT_TRUE(scheduler->find("s", 0, "m").ok());
  scheduler->withdraw(again, "");
  EXPECT_EQ(scheduler->find("s", 0, "m").value()->servable->version, 1U) << "taken away on purpose";
}

TEST_F(SchedulerTest, WithdrawFailsWhatWaits) {
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})});
  const LaneId lane_id = attach(id, &lane, {0});
  const auto r = submit("m", {floats({2}, 1)});
  scheduler->detach(lane_id, "ended");
  scheduler->withdraw(id, "no worker is left");
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(r->failure.code(), Code::kUnavailable);
  EXPECT_NE(r->failure.message().find("no worker is left"), std::string_view::npos);
}

TEST_F(SchedulerTest, ACallRunsOnTheModelsLaneAndComesBack) {
  FakeLane functions;
  FakeLane models;
  const ServableId id =
      publish({function_callee("f", 1, 1, 8), model_callee("k", {1}, 8)}, {chain("m", {0}), chain("direct", {1})});
  const LaneId function_lane = attach(id, &functions, {0});
  const LaneId model_lane = attach(id, &models, {1});
  const auto r = submit("m", {floats({1}, 1)});
  scheduler->pump();
  ASSERT_EQ(functions.tasks.size(), 1U);
  const RunTask& caller = functions.tasks[0];
  CallRequest call;
  call.task = caller.head.task;
  call.call = 77;
  call.callee = 1;
  call.rows = 2;
  const float values[] = {5, 6};
  std::memcpy(arena->base() + caller.head.room_offset, values, sizeof(values));
  OutputPiece piece;
  piece.offset = caller.head.room_offset;
  piece.row_bytes = 4;
  piece.rows = 2;
  piece.dtype = DataType::kFloat32;
  piece.row_shape = {1};
  call.inputs = {{piece}};
  MessageWriter writer;
  write_call(call, &writer);
  ASSERT_TRUE(scheduler->on_record(function_lane, writer.bytes()).ok());
  const auto direct = submit("direct", {floats({1}, 9)});
  scheduler->pump();
  ASSERT_EQ(models.tasks.size(), 1U);
  EXPECT_EQ(rows_of(models.tasks[0]), (std::vector<float>{5, 6, 9})) << "calls share batches with everybody";
  ASSERT_TRUE(finish(model_lane, models.tasks[0], 100).ok());
  ASSERT_EQ(functions.called.size(), 1U);
  const RowsResult& called = functions.called[0];
  EXPECT_EQ(called.id, 77U);
  ASSERT_EQ(called.outputs.size(), 1U);
  EXPECT_EQ(first_float(arena->base() + called.outputs[0][0].offset), 105);
  ASSERT_TRUE(finish(function_lane, caller, 0).ok());
  EXPECT_EQ(answered.size(), 2U);
  EXPECT_EQ(output(*direct, 0), 109);
  EXPECT_EQ(output(*r, 0), 1);
}

TEST_F(SchedulerTest, RoomIsGivenOnRequest) {
  FakeLane lane;
  const LaneId lane_id = attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  NeedRoomHead need;
  need.task = lane.tasks[0].head.task;
  need.bytes = 1U << 20U;
  MessageWriter writer;
  writer.put(need);
  ASSERT_TRUE(scheduler->on_record(lane_id, writer.bytes()).ok());
  ASSERT_EQ(lane.rooms.size(), 1U);
  EXPECT_EQ(lane.rooms[0].failed, 0U);
  EXPECT_GE(lane.rooms[0].bytes, need.bytes);
  need.bytes = 1ULL << 40U;
  writer.clear();
  writer.put(need);
  ASSERT_TRUE(scheduler->on_record(lane_id, writer.bytes()).ok());
  EXPECT_EQ(lane.rooms[1].failed, 1U);
}

TEST_F(SchedulerTest, ResultsOutsideTheRoomAreRefused) {
  FakeLane lane;
  const LaneId lane_id = attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  RowsResult result;
  result.id = lane.tasks[0].head.task;
  result.rows = 1;
  OutputPiece piece;
  piece.rows = 1;
  piece.row_bytes = 4;
  piece.dtype = DataType::kFloat32;
  piece.row_shape = {1};
  const std::uint64_t room = lane.tasks[0].head.room_offset;
  for (const std::uint64_t offset :
       std::vector<std::uint64_t>{room - 4, room + lane.tasks[0].head.room_bytes - 2, ~0ULL - 2}) {
    piece.offset = offset;
    result.outputs = {{piece}};
    MessageWriter writer;
    write_done(result, &writer);
    EXPECT_EQ(scheduler->on_record(lane_id, writer.bytes()).code(), Code::kInternal) << offset;
  }
  EXPECT_TRUE(answered.empty());
}

TEST_F(SchedulerTest, AFullTaskRingLosesNothing) {
  FakeLane lane;
  lane.full = true;
  const LaneId lane_id = attach(publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})}), &lane, {0});
  const auto r = submit("m", {floats({2}, 1), floats({2}, 2)});
  scheduler->pump();
  lane.full = false;
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 1U);
  EXPECT_EQ(rows_of(lane.tasks[0]), (std::vector<float>{1, 2}));
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 0).ok());
  EXPECT_EQ(answered.size(), 1U);
}

TEST_F(SchedulerTest, TheArenaIsEmptyWhenAllIsAnswered) {
  FakeLane lane;
  const LaneId lane_id = attach(publish({function_callee("f", 1, 1, 4)}, {chain("m", {0})}), &lane, {0});
  for (int i = 0; i < 100; ++i) {
    submit("m", {floats({2}, 1), floats({5}, 2)});
    scheduler->pump();
    while (!lane.tasks.empty()) {
      ASSERT_TRUE(finish(lane_id, lane.tasks[0], 0).ok());
      lane.tasks.pop_front();
      scheduler->pump();
    }
  }
  EXPECT_EQ(answered.size(), 100U);
  answered.clear();
  EXPECT_LE(arena->usage().blocks, 2U) << "only the two open slabs";
}

}  // namespace
}  // namespace servoir
