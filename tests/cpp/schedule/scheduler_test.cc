#include "schedule/scheduler.h"

#include <chrono>

#include "servable_fixture.h"

namespace servoir {
namespace {

using std::chrono::milliseconds;

TEST_F(SchedulerTest, RunsAStageAndAnswers) {
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})});
  const AttachmentId lane_id = attach(id, &lane, {0});
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

TEST_F(SchedulerTest, AMethodWithoutStagesReturnsItsInputs) {
  FakeLane lane;
  MethodSpec method = chain("m", {});
  attach(publish({function_callee("f", 1, 1, 1)}, {method}), &lane, {0});
  const auto r = submit("m", {floats({2}, 5)});
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(output(*r, 0), 5);
}

// A lane that always has work of a method's later stage still comes to another method's first stage.
TEST_F(SchedulerTest, ALaterStageDoesNotStarveAnotherMethod) {
  FakeLane functions;
  FakeLane models;
  const ServableId id = publish({function_callee("f", 1, 1, 4), model_callee("a", {2}, 4), model_callee("b", {2}, 4)},
                                {chain("pipe", {0, 1}), chain("direct", {2})});
  const AttachmentId function_lane = attach(id, &functions, {0});
  const AttachmentId model_lane = attach(id, &models, {1, 2});
  const auto run_function = [&] {
    scheduler->pump();
    ASSERT_FALSE(functions.tasks.empty());
    // The stage gives what the model takes: two numbers for an instance.
    RowsResult result;
    const RunTask task = functions.tasks.front();
    functions.tasks.pop_front();
    result.id = task.head.task;
    result.rows = task.head.rows;
    result.run_ns = run_ns;
    result.outputs.push_back({OutputPiece{}});
    OutputPiece& piece = result.outputs[0][0];
    piece.rows = task.head.rows;
    piece.offset = task.head.room_offset;
    piece.row_bytes = 2 * sizeof(float);
    piece.dtype = DataType::kFloat32;
    piece.row_shape = {2};
    MessageWriter writer;
    write_done(result, &writer);
    ASSERT_TRUE(scheduler->on_record(function_lane, writer.bytes()).ok());
  };
  const auto flood = [&] { submit("pipe", {floats({2}, 1), floats({2}, 1), floats({2}, 1), floats({2}, 1)}); };
  for (int i = 0; i < 6; ++i) flood();
  for (int i = 0; i < 4; ++i) run_function();  // the model lane has two tasks and eight instances waiting for it
  const auto direct = submit("direct", {floats({2}, 7)});
  int rounds = 0;
  while (!direct->progress.answered && rounds < 20) {
    ++rounds;
    flood();
    run_function();
    scheduler->pump();
    ASSERT_FALSE(models.tasks.empty());
    const RunTask task = models.tasks.front();
    models.tasks.pop_front();
    ASSERT_TRUE(finish(model_lane, task, 0).ok());
  }
  EXPECT_LT(rounds, 12) << "only requests that came before it go first";
}

TEST_F(SchedulerTest, AFailedInstanceLeavesTheOthersAlone) {
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 8), function_callee("g", 1, 1, 8)}, {chain("m", {0, 1})});
  const AttachmentId lane_id = attach(id, &lane, {0, 1});
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

TEST_F(SchedulerTest, DeadlineAnswersAndLeavesTheQueue) {
  FakeLane lane;
  attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  auto late = request("m", {floats({2}, 2)});
  late->info.deadline = Clock::now() + milliseconds(5);
  scheduler->submit(late);
  EXPECT_EQ(wake(), late->info.deadline);
  tick(late->info.deadline);
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(late->failure.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(lane.tasks.size(), 1U) << "it never costs the worker anything";
}

TEST_F(SchedulerTest, EachVersionAsksForItsOwnTimeAndIsTickedAlone) {
  const ServableId first = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}, 1, "a");
  const ServableId second = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}, 1, "b");
  FakeLane lanes[2];
  attach(first, &lanes[0], {0});
  attach(second, &lanes[1], {0});
  const Clock::time_point now = Clock::now();
  std::vector<std::shared_ptr<Request>> requests;
  for (const char* servable : {"a", "b"}) {
    auto method = scheduler->find(servable, 0, "m");
    ASSERT_TRUE(method.ok());
    for (int i = 0; i < 3; ++i) {  // a lane takes two tasks
      auto request = make_request(*method, 1);
      request->at(0, 0) = floats({2}, 1);
      request->answer = [this](const std::shared_ptr<Request>& done, bool) { answered.push_back(done); };
      request->info.deadline = i < 2 ? Clock::time_point::max() : now + std::chrono::hours(*servable - 'a' + 1);
      requests.push_back(request);
      scheduler->submit(request);
      scheduler->pump();
    }
  }
  EXPECT_EQ(wakes[first], now + std::chrono::hours(1));
  EXPECT_EQ(wakes[second], now + std::chrono::hours(2));
  wakes.clear();
  scheduler->tick(second, now + std::chrono::hours(1));
  EXPECT_TRUE(answered.empty());
  EXPECT_FALSE(wakes.contains(first));
  EXPECT_EQ(wakes[second], now + std::chrono::hours(2)) << "too early: it asks again";
  scheduler->tick(second, now + std::chrono::hours(3));
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(answered[0], requests[5]);
}

TEST_F(SchedulerTest, CancelDropsWhatWaitsAndForgetsWhatRuns) {
  FakeLane lane;
  const AttachmentId lane_id = attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
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
  for (const std::uint64_t version : {0UL, 2UL}) {
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
  const AttachmentId lane_id = attach(id, &lane, {0});
  const auto r = submit("m", {floats({2}, 1)});
  scheduler->detach(lane_id, "ended");
  scheduler->withdraw(id, "no worker is left");
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(r->failure.code(), Code::kUnavailable);
  EXPECT_NE(r->failure.message().find("no worker is left"), std::string_view::npos);
}

TEST_F(SchedulerTest, ARetiredVersionFinishesWhatItHas) {
  FakeLane old_lane;
  FakeLane new_lane;
  const ServableId old_version = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}, 1);
  const AttachmentId old_lane_id = attach(old_version, &old_lane, {0});
  auto running = submit("m", {floats({1}, 1)});
  scheduler->pump();
  auto waiting = submit("m", {floats({1}, 2)});
  auto reading = request("m", {floats({1}, 3)});  // its head was read, and its tensors are coming
  attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}, 2), &new_lane, {0});
  EXPECT_FALSE(scheduler->retire(old_version));
  EXPECT_EQ((*scheduler->find("s", 0, "m"))->servable->version, 2U);
  scheduler->submit(reading);
  for (const float value : {1.0F, 2.0F, 3.0F}) {
    scheduler->pump();
    EXPECT_FALSE(scheduler->retire(old_version));
    ASSERT_FALSE(old_lane.tasks.empty());
    EXPECT_EQ(rows_of(old_lane.tasks.front()), std::vector<float>{value});
    ASSERT_TRUE(finish(old_lane_id, old_lane.tasks.front(), 10).ok());
    old_lane.tasks.pop_front();
  }
  ASSERT_EQ(answered.size(), 3U);
  for (const auto& done : answered) EXPECT_TRUE(done->failure.ok());
  EXPECT_FALSE(scheduler->retire(old_version)) << "an answer that is not written yet is a request, too";
  running.reset();
  waiting.reset();
  reading.reset();
  answered.clear();
  EXPECT_TRUE(scheduler->retire(old_version));
  EXPECT_TRUE(scheduler->retire(99)) << "a version that is gone holds nothing";
  EXPECT_TRUE(new_lane.tasks.empty());
}

TEST_F(SchedulerTest, AnUploadUnderWayLeavesNothingOfAWithdrawnServable) {
  MethodSpec method = chain("m", {0});
  method.inputs.emplace_back("unread");
  method.values = 3;
  method.stages[0].first_output = 2;
  method.outputs = {2};
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 4)}, {method});
  attach(id, &lane, {0});
  auto reading = scheduler->find("s", 0, "m").value();
  scheduler->withdraw(id, "updated");
  for (const Method::Home& home : reading->homes) {
    EXPECT_TRUE(slabs->reserve({home.slab_consumer, 1U << 20U}, 1, home.batch_rows).ok());
  }
  EXPECT_EQ(arena->usage().blocks, 2U);
  reading.reset();
  EXPECT_EQ(arena->usage().blocks, 0U);
}

TEST_F(SchedulerTest, TheArenaIsEmptyWhenAllIsAnswered) {
  FakeLane lane;
  const AttachmentId lane_id = attach(publish({function_callee("f", 1, 1, 4)}, {chain("m", {0})}), &lane, {0});
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
