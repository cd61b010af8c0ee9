// A worker that takes longer for a batch than the callee allows is told of, once.

#include <chrono>

#include "servable_fixture.h"

namespace servoir {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TimeLimitsTest : public SchedulerTest {
 protected:
  TimeLimitsTest() { virtual_now = Clock::time_point(std::chrono::hours(1)); }

  void serve(CalleeSpec callee) {
    callee.time_limit = seconds(5);
    id_ = publish({callee}, {chain("m", {0})});
    lane_id_ = attach(id_, &lane_, {0});
  }
  void pass(std::chrono::nanoseconds time) {
    virtual_now += time;
    tick(virtual_now);
  }
  void run_one() {
    const RunTask task = lane_.tasks.front();
    lane_.tasks.pop_front();
    EXPECT_TRUE(finish(lane_id_, task, 1).ok());
    scheduler->pump();
  }

  FakeLane lane_;
  ServableId id_ = 0;
  AttachmentId lane_id_ = 0;
};

TEST_F(TimeLimitsTest, ABatchThatTakesTooLongIsToldOfOnce) {
  serve(function_callee("f", 1, 1, 4));
  submit("m", {floats({1}, 1), floats({1}, 2)});
  scheduler->pump();
  EXPECT_EQ(wake(), virtual_now + seconds(5));
  pass(milliseconds(4'999));
  EXPECT_TRUE(overdue.empty());
  pass(milliseconds(1));
  ASSERT_EQ(overdue.size(), 1U);
  EXPECT_EQ(overdue[0].first, lane_id_);
  EXPECT_EQ(overdue[0].second, "function 'f' of servable 's' took longer for 2 instances than 5 s, its time limit");
  pass(seconds(100));
  EXPECT_EQ(overdue.size(), 1U);
}

TEST_F(TimeLimitsTest, TheNextBatchHasATimeOfItsOwn) {
  serve(function_callee("f", 1, 1, 1));
  submit("m", {floats({1}, 1), floats({1}, 2)});  // the second is posted ahead
  scheduler->pump();
  ASSERT_EQ(lane_.tasks.size(), 2U);
  pass(seconds(4));
  run_one();
  pass(seconds(4));
  EXPECT_TRUE(overdue.empty());
  pass(seconds(1));
  EXPECT_EQ(overdue.size(), 1U);
}

TEST_F(TimeLimitsTest, AWorkerWithoutWorkHasTime) {
  serve(function_callee("f", 1, 1, 1));
  submit("m", {floats({1}, 1)});
  scheduler->pump();
  run_one();
  pass(seconds(1000));
  EXPECT_TRUE(overdue.empty());
  submit("m", {floats({1}, 1)});
  scheduler->pump();
  pass(seconds(4));
  EXPECT_TRUE(overdue.empty());
}

TEST_F(TimeLimitsTest, EachCallOfAFunctionThatIsCalledSinglyHasTheWholeTime) {
  CalleeSpec callee = function_callee("f", 1, 1, 8);
  callee.called_singly = true;
  run_ns = 1000;  // so several travel together
  serve(callee);
  submit("m", {floats({1}, 1)});
  scheduler->pump();
  run_one();
  submit("m", {floats({1}, 1), floats({1}, 2), floats({1}, 3)});
  scheduler->pump();
  ASSERT_EQ(lane_.tasks.front().head.rows, 3U);
  pass(milliseconds(14'999));
  EXPECT_TRUE(overdue.empty());
  pass(milliseconds(1));
  ASSERT_EQ(overdue.size(), 1U);
  EXPECT_NE(overdue[0].second.find("took longer for 3 instances than 15 s"), std::string::npos) << overdue[0].second;
}

TEST_F(TimeLimitsTest, WithoutALimitItTakesAsLongAsItLikes) {
  id_ = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})});
  lane_id_ = attach(id_, &lane_, {0});
  submit("m", {floats({1}, 1)});
  scheduler->pump();
  EXPECT_EQ(wake(), Clock::time_point::max());
  pass(std::chrono::hours(1));
  EXPECT_TRUE(overdue.empty());
}

TEST_F(TimeLimitsTest, WhatRanTooLongIsThenRunAloneAndRefused) {
  serve(function_callee("f", 1, 1, 2));
  const auto request = submit("m", {floats({1}, 1), floats({1}, 2)});
  scheduler->pump();
  std::vector<std::unique_ptr<FakeLane>> lanes;
  for (int i = 0; i < 3 && !request->progress.answered; ++i) {
    pass(seconds(5));
    ASSERT_EQ(overdue.size(), static_cast<std::size_t>(i + 1));
    scheduler->detach(overdue.back().first, overdue.back().second, true);
    lanes.push_back(std::make_unique<FakeLane>());
    lane_id_ = attach(id_, lanes.back().get(), {0});
  }
  ASSERT_TRUE(request->progress.answered) << "each alone, after the first time";
  EXPECT_NE(request->errors[0].message().find("took longer for 1 instance than 5 s, its time limit"),
            std::string_view::npos)
      << request->errors[0].message();
}

}  // namespace
}  // namespace servoir
