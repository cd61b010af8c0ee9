// What cannot be answered before its deadline is refused at once, or dropped before it is run, and nothing else is.

#include <algorithm>
#include <chrono>
#include <random>

#include "servable_fixture.h"

namespace servoir {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

class DeadlinesTest : public SchedulerTest {
 protected:
  DeadlinesTest() { virtual_now = Clock::time_point(std::chrono::hours(1)); }

  void serve(std::uint32_t max_batch, std::vector<CalleeSpec> more = {}) {
    std::vector<CalleeSpec> callees = {function_callee("f", 1, 1, max_batch)};
    std::vector<std::uint32_t> numbers = {0};
    for (const CalleeSpec& callee : more) {
      numbers.push_back(static_cast<std::uint32_t>(callees.size()));
      callees.push_back(callee);
    }
    id_ = publish(callees, {chain("m", numbers)});
    lane_id_ = attach(id_, &lane_, numbers);
  }
  // A request that must be answered within this time, or has no deadline.
  std::shared_ptr<Request> submit_within(nanoseconds time, std::size_t instances = 1, const void* sender = nullptr,
                                         std::uint32_t priority = RequestInfo::kUsualPriority) {
    std::vector<TensorRef> values;
    for (std::size_t i = 0; i < instances; ++i) values.push_back(floats({1}, 1));
    auto made = request("m", values);
    if (time != nanoseconds(0)) made->info.deadline = virtual_now + time;
    made->info.sender = sender;
    made->info.priority = priority;
    scheduler->submit(made);
    scheduler->pump();
    return made;
  }
  // The lane's first task ends after this time.
  std::uint32_t run_one(nanoseconds time) {
    const RunTask task = lane_.tasks.front();
    lane_.tasks.pop_front();
    virtual_now += time;
    tick(virtual_now);
    EXPECT_TRUE(finish(lane_id_, task, 1).ok());
    scheduler->pump();
    return task.head.rows;
  }
  void learn(nanoseconds time, std::uint32_t rows = 1) {
    for (int i = 0; i < 40; ++i) {
      const auto request = submit_within(nanoseconds(0), rows);
      while (!request->progress.answered) run_one(time);
    }
    answered.clear();
  }
  static Code code(const std::shared_ptr<Request>& request) { return request->failure.code(); }

  FakeLane lane_;
  ServableId id_ = 0;
  AttachmentId lane_id_ = 0;
};

TEST_F(DeadlinesTest, WhatWouldWaitTooLongIsRefusedAtOnce) {
  serve(1);
  learn(milliseconds(10));
  for (int i = 0; i < 5; ++i) submit_within(nanoseconds(0));
  const auto late = submit_within(milliseconds(40));
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(code(late), Code::kResourceExhausted);
  EXPECT_NE(late->failure.message().find("would answer in about 60 ms, and the request's deadline is in 40 ms"),
            std::string_view::npos)
      << late->failure.message();
  const auto in_time = submit_within(milliseconds(70));
  EXPECT_EQ(answered.size(), 1U);
  for (int i = 0; i < 6; ++i) run_one(milliseconds(10));
  EXPECT_TRUE(in_time->failure.ok()) << in_time->failure.message();
  EXPECT_EQ(answered.size(), 7U);
}

TEST_F(DeadlinesTest, WhatNeedNotWaitIsRunHoweverLongItTook) {
  serve(1);
  learn(std::chrono::seconds(5));
  const auto first = submit_within(milliseconds(100));
  EXPECT_EQ(lane_.tasks.size(), 1U);
  EXPECT_EQ(code(submit_within(milliseconds(100))), Code::kResourceExhausted);
  run_one(milliseconds(1));
  EXPECT_TRUE(first->failure.ok()) << first->failure.message();
  // It is quick now, and that is seen by and by.
  for (int i = 0; i < 100; ++i) {
    submit_within(milliseconds(100));
    run_one(milliseconds(1));
  }
  submit_within(milliseconds(100));
  EXPECT_TRUE(submit_within(milliseconds(100))->failure.ok());
}

TEST_F(DeadlinesTest, NothingIsRefusedBeforeAnythingIsKnown) {
  serve(1);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(submit_within(milliseconds(1))->failure.ok());
}

TEST_F(DeadlinesTest, WhatHasComeTooLateIsDroppedAndOthersTakeItsPlace) {
  serve(4);
  learn(milliseconds(10), 4);
  submit_within(nanoseconds(0), 12);  // three batches, one of which is posted ahead
  std::vector<std::shared_ptr<Request>> hurried;
  for (int i = 0; i < 4; ++i) hurried.push_back(submit_within(milliseconds(41)));
  std::vector<std::shared_ptr<Request>> patient;
  for (int i = 0; i < 4; ++i) patient.push_back(submit_within(milliseconds(200)));
  for (const auto& request : hurried) ASSERT_TRUE(request->failure.ok()) << request->failure.message();
  run_one(milliseconds(10));
  run_one(milliseconds(15));  // longer than usual
  for (const auto& request : hurried) {
    EXPECT_EQ(code(request), Code::kDeadlineExceeded);
    EXPECT_LT(virtual_now, request->info.deadline);
  }
  EXPECT_EQ(run_one(milliseconds(10)), 4U);
  EXPECT_EQ(run_one(milliseconds(10)), 4U);
  for (const auto& request : patient) EXPECT_TRUE(request->failure.ok()) << request->failure.message();
  EXPECT_TRUE(lane_.tasks.empty());
}

TEST_F(DeadlinesTest, IfAllHasComeTooLateOneIsRunAllTheSame) {
  serve(1);
  learn(milliseconds(10));
  scheduler->detach(lane_id_, "killed", true);
  std::vector<std::shared_ptr<Request>> late;
  for (int i = 0; i < 3; ++i) late.push_back(submit_within(milliseconds(5)));
  EXPECT_TRUE(answered.empty());
  FakeLane next;
  const AttachmentId next_id = attach(id_, &next, {0});
  ASSERT_EQ(next.tasks.size(), 1U);
  EXPECT_EQ(answered.size(), 2U);
  virtual_now += milliseconds(1);
  EXPECT_TRUE(finish(next_id, next.tasks.front(), 1).ok());
  EXPECT_EQ(answered.size(), 3U);
  EXPECT_EQ(std::ranges::count(late, Code::kOk, code), 1);
}

TEST_F(DeadlinesTest, StagesThatFollowCount) {
  serve(1, {function_callee("g", 1, 1, 1), function_callee("h", 1, 1, 1)});
  learn(milliseconds(10));  // each of the three
  for (int i = 0; i < 2; ++i) submit_within(nanoseconds(0));
  EXPECT_EQ(code(submit_within(milliseconds(79))), Code::kResourceExhausted);
  const auto in_time = submit_within(milliseconds(95));
  EXPECT_TRUE(in_time->failure.ok()) << in_time->failure.message();
  while (!lane_.tasks.empty()) run_one(milliseconds(10));
  EXPECT_TRUE(in_time->failure.ok()) << in_time->failure.message();
}

TEST_F(DeadlinesTest, WhatGoesAfterItDoesNotCount) {
  serve(1);
  learn(milliseconds(10));
  int busy = 0;
  int calm = 0;
  for (int i = 0; i < 200; ++i) submit_within(nanoseconds(0), 1, &busy);
  EXPECT_EQ(code(submit_within(milliseconds(1'500), 1, &busy)), Code::kResourceExhausted);
  // Another sender takes turns with it, and who is more urgent goes first.
  EXPECT_TRUE(submit_within(milliseconds(1'500), 1, &calm)->failure.ok());
  EXPECT_TRUE(submit_within(milliseconds(100), 1, &busy, 0)->failure.ok());
}

TEST_F(DeadlinesTest, TwoLanesTakeHalfTheTime) {
  serve(1);
  learn(milliseconds(10));
  FakeLane other;
  attach(id_, &other, {0}, "other worker");
  for (int i = 0; i < 10; ++i) submit_within(nanoseconds(0));
  EXPECT_EQ(code(submit_within(milliseconds(40))), Code::kResourceExhausted);
  EXPECT_TRUE(submit_within(milliseconds(65))->failure.ok());
}

// Requests come at random, so many times as fast as the worker can run them, each with 100 ms. Returns how many of
// those that it could run at best were answered in time.
class Overload : public DeadlinesTest {
 protected:
  double goodput(double load) {
    constexpr std::uint32_t kBatch = 16;
    constexpr auto time_of = [](std::uint32_t rows) { return microseconds(4'000 + 500 * rows); };
    constexpr double kCapacity = kBatch / 12'000.0;  // a microsecond
    serve(kBatch);
    std::mt19937_64 random(5);
    std::exponential_distribution<double> gap(kCapacity * load);
    std::uniform_real_distribution<double> noise(0.9, 1.1);
    const Clock::time_point begin = virtual_now;
    const Clock::time_point measured = begin + std::chrono::seconds(1);
    const Clock::time_point end = begin + std::chrono::seconds(4);
    Clock::time_point arrival = begin;
    Clock::time_point done = Clock::time_point::max();
    std::uint64_t good = 0;
    while (virtual_now < end) {
      virtual_now = std::min(arrival, done);
      tick(virtual_now);
      if (virtual_now == done) {
        run_one({});
        done = Clock::time_point::max();
      } else {
        submit_within(milliseconds(100));
        arrival += nanoseconds(static_cast<std::int64_t>(1e3 * gap(random)));
      }
      if (done == Clock::time_point::max() && !lane_.tasks.empty()) {
        const auto time = time_of(lane_.tasks.front().head.rows);
        done = virtual_now +
               nanoseconds(static_cast<std::int64_t>(1e3 * static_cast<double>(time.count()) * noise(random)));
      }
      for (const auto& request : answered) {
        if (request->failure.ok() && virtual_now >= measured && virtual_now <= request->info.deadline) ++good;
      }
      answered.clear();
    }
    return static_cast<double>(good) / (kCapacity * 3e6);
  }
};

TEST_F(Overload, AtHalfTheLoadAllAreAnswered) { EXPECT_NEAR(goodput(0.5), 0.5, 0.03); }
TEST_F(Overload, AtThreeTimesTheLoadAsMuchAsCanBeIsAnswered) { EXPECT_GE(goodput(3), 0.95); }
TEST_F(Overload, AtFiveTimesTheLoadAsMuchAsCanBeIsAnswered) { EXPECT_GE(goodput(5), 0.95); }

}  // namespace
}  // namespace servoir
