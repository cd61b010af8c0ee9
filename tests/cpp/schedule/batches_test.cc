// Which instances the scheduler runs together, on which lane, and how long they wait for others.

#include <chrono>

#include "schedule/scheduler.h"
#include "servable_fixture.h"

namespace servoir {
namespace {

using std::chrono::milliseconds;

TEST_F(SchedulerTest, WhatComesWhileTheLaneIsBusySharesTheNextBatch) {
  FakeLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 4)}, {chain("m", {0})});
  const AttachmentId lane_id = attach(id, &lane, {0});
  submit("m", {floats({2}, 0)});
  scheduler->pump();
  for (int i = 1; i <= 3; ++i) {
    submit("m", {floats({2}, static_cast<float>(i))});
    scheduler->pump();
  }
  EXPECT_EQ(lane.tasks.size(), 1U) << "three of four do not fill a batch";
  submit("m", {floats({2}, 4)});
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 2U) << "a full batch is posted after the running one";
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
  const AttachmentId lane_id = attach(id, &lane, {0});
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
  const AttachmentId a_id = attach(id, &a, {0}, "a");
  attach(id, &b, {0}, "b");
  submit("m", std::vector<TensorRef>(20, floats({2}, 1)));
  scheduler->pump();
  ASSERT_EQ(a.tasks.size(), 1U);
  EXPECT_EQ(a.tasks[0].head.rows, 1U) << "how long it takes is not known yet";
  run_ns = 400'000;
  ASSERT_TRUE(finish(a_id, a.tasks[0], 0).ok());
  scheduler->pump();
  ASSERT_EQ(a.tasks.size(), 3U) << "two of 0.4 ms each, and the same again after them";
  EXPECT_EQ(a.tasks[1].head.rows, 2U);
  EXPECT_EQ(a.tasks[2].head.rows, 2U);
}

TEST_F(SchedulerTest, ABatchThatTakesLongIsNotPostedAheadWhereAnotherLaneMayBeFreeSooner) {
  FakeLane a;
  FakeLane b;
  const ServableId id = publish({function_callee("f", 1, 1, 4)}, {chain("m", {0})});
  const AttachmentId a_id = attach(id, &a, {0}, "a");
  const AttachmentId b_id = attach(id, &b, {0}, "b");
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
  EXPECT_GE(wake(), before + milliseconds(50));
  EXPECT_LE(wake(), after + milliseconds(50));
  const Clock::time_point due = wake();
  submit("m", {floats({2}, 2)});
  scheduler->pump();
  EXPECT_EQ(wake(), due) << "a younger instance does not move it";
  tick(due);
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

TEST_F(SchedulerTest, AFullBatchDoesNotWaitForTheDelayOfAnOlderInstanceOfAnotherShape) {
  FakeLane lane;
  CalleeSpec callee = function_callee("f", 1, 1, 2);
  callee.max_queue_delay = std::chrono::hours(1);
  const AttachmentId lane_id = attach(publish({callee}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({3}, 9)});
  submit("m", {floats({2}, 1), floats({2}, 2)});
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 1U);
  EXPECT_EQ(rows_of(lane.tasks[0]), (std::vector<float>{1, 2}));
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 0).ok());
  tick(wake());
  ASSERT_EQ(lane.tasks.size(), 2U);
  EXPECT_EQ(rows_of(lane.tasks[1]), (std::vector<float>{9}));
}

}  // namespace
}  // namespace servoir
