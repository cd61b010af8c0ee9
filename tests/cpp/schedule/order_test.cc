// Whose instances the scheduler runs first: fair among connections, by priority, and nobody waits for ever.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "schedule/callee_queue.h"
#include "schedule/scheduler.h"
#include "servable_fixture.h"

namespace servoir {
namespace {

class OrderTest : public SchedulerTest {
 protected:
  // One function, in batches of four, on one lane.
  void one_function() { lane_id = attach(publish({function_callee("f", 1, 1, 4)}, {chain("m", {0})}), &lane, {0}); }
  // Each instance has the value `value`.
  std::shared_ptr<Request> send(int sender, std::uint32_t priority, float value, std::size_t instances = 1,
                                const std::string& method = "m") {
    auto made = request(method, std::vector<TensorRef>(instances, floats({2}, value)));
    made->info.sender = &senders.at(static_cast<std::size_t>(sender));
    made->info.priority = priority;
    scheduler->submit(made);
    return made;
  }
  // Runs the lane's next batch, and returns its values.
  std::vector<float> run() {
    scheduler->pump();
    if (lane.tasks.empty()) return {};
    const RunTask task = lane.tasks.front();
    lane.tasks.pop_front();
    EXPECT_TRUE(finish(lane_id, task, 0).ok());
    return rows_of(task);
  }
  // Batches until the request is answered, each after `meanwhile`.
  template <class Meanwhile>
  int batches_until(const std::shared_ptr<Request>& request, Meanwhile meanwhile) {
    int batches = 0;
    for (; !request->progress.answered && batches < 1000; ++batches) {
      meanwhile();
      EXPECT_FALSE(run().empty());
    }
    return batches;
  }

  static constexpr std::uint32_t kUsual = RequestInfo::kUsualPriority;
  std::array<int, 4096> senders{};  // told apart by their addresses
  FakeLane lane;
  AttachmentId lane_id = 0;
};

TEST_F(OrderTest, AConnectionThatHasQueuedMuchDoesNotDelayAnother) {
  one_function();
  for (int i = 0; i < 100; ++i) send(0, kUsual, 1);
  const auto other = send(1, kUsual, 2);
  EXPECT_LE(batches_until(other, [] {}), 2) << "after one turn of the other";
}

TEST_F(OrderTest, ALargeRequestIsRunInTurns) {
  one_function();
  const auto large = send(0, kUsual, 1, 100);
  const auto other = send(1, kUsual, 2);
  EXPECT_LE(batches_until(other, [] {}), 2);
  EXPECT_EQ(batches_until(large, [] {}), 24) << "and its batches stay whole";
}

TEST_F(OrderTest, ConnectionsTakeTurns) {
  one_function();
  for (int i = 0; i < 12; ++i) send(0, kUsual, 1);
  for (int i = 0; i < 12; ++i) send(1, kUsual, 2);
  std::vector<float> began;
  for (int i = 0; i < 6; ++i) began.push_back(run().at(0));
  EXPECT_EQ(began, (std::vector<float>{1, 2, 1, 2, 1, 2}));
}

TEST_F(OrderTest, OneConnectionIsServedInItsOrder) {
  one_function();
  std::vector<float> sent;
  std::vector<float> ran;
  for (int i = 0; i < 50; ++i) {
    const std::size_t instances = 1 + static_cast<std::size_t>(i) % 7;
    send(0, kUsual, static_cast<float>(i), instances);
    sent.insert(sent.end(), instances, static_cast<float>(i));
  }
  while (ran.size() < sent.size()) std::ranges::copy(run(), std::back_inserter(ran));
  EXPECT_EQ(ran, sent);
}

// Else a client that opens a connection for each request would keep away those that use one for many.
TEST_F(OrderTest, NewConnectionsDoNotStarveOneThatHasQueuedMuch) {
  one_function();
  for (int i = 0; i < 7; ++i) send(0, kUsual, 1);
  const auto last = send(0, kUsual, 1);
  int next = 1;
  const int batches = batches_until(last, [&] {
    for (int i = 0; i < 4; ++i) send(next++, kUsual, 2);
  });
  EXPECT_LE(batches, static_cast<int>(Rounds::kMostBatches) + 4);
}

TEST_F(OrderTest, TheLowestNumberGoesFirst) {
  one_function();
  for (int i = 0; i < 16; ++i) send(0, 5, 5);
  for (int i = 0; i < 4; ++i) send(0, 1, 1);
  for (int i = 0; i < 4; ++i) send(0, 3, 3);
  EXPECT_EQ(run(), (std::vector<float>{1, 1, 1, 1}));
  EXPECT_EQ(run(), (std::vector<float>{3, 3, 3, 3}));
  EXPECT_EQ(run(), (std::vector<float>{5, 5, 5, 5}));
}

TEST_F(OrderTest, ABatchIsFilledUpWithOtherPriorities) {
  one_function();
  for (int i = 0; i < 3; ++i) send(0, 5, 5);
  send(1, 1, 1);
  EXPECT_EQ(run(), (std::vector<float>{1, 5, 5, 5}));
}

TEST_F(OrderTest, ADelayThatHasRunOutIsNotHeldUpByALowerNumberThatWaits) {
  CalleeSpec callee = function_callee("f", 1, 1, 4);
  callee.max_queue_delay = std::chrono::milliseconds(10);
  virtual_now = Clock::time_point(std::chrono::hours(1));
  lane_id = attach(publish({callee}, {chain("m", {0})}), &lane, {0});
  send(0, 5, 5);
  scheduler->pump();
  virtual_now += std::chrono::milliseconds(9);
  send(0, 1, 1);
  scheduler->pump();
  EXPECT_TRUE(lane.tasks.empty());
  virtual_now += std::chrono::milliseconds(1);
  tick(virtual_now);
  EXPECT_EQ(run(), (std::vector<float>{5, 1}));
}

TEST_F(OrderTest, APriorityIsPassedBySoManyBatchesAtMost) {
  one_function();
  for (int i = 0; i < 8; ++i) send(0, 0, 1);
  const auto last = send(1, 7, 2);
  const int batches = batches_until(last, [&] {
    for (int i = 0; i < 8; ++i) send(0, 0, 1);
  });
  EXPECT_GE(batches, static_cast<int>(CalleeQueue::kMostPassed));
  EXPECT_LE(batches, static_cast<int>(CalleeQueue::kMostPassed) + 3) << "two were posted already";
}

// What has been cancelled does not use up the turn.
TEST_F(OrderTest, RequestsThatHaveEndedDoNotDelayTheirPriority) {
  one_function();
  const auto flood = [&] {
    for (int i = 0; i < 8; ++i) send(0, 0, 1);
  };
  flood();
  // One that shares no batch with the others, and one that does.
  for (const Shape& shape : {Shape{3}, Shape{2}}) {
    auto gone = request("m", {floats(shape, 2), floats(shape, 2), floats(shape, 2), floats(shape, 2)});
    gone->info.priority = 7;
    scheduler->submit(gone);
    scheduler->cancel(gone, Status::Cancelled("gone"));
  }
  const auto last = send(1, 7, 2);
  EXPECT_LE(batches_until(last, flood), static_cast<int>(CalleeQueue::kMostPassed) + 3);
}

TEST_F(OrderTest, APriorityIsPassedByBatchesOfOtherCalleesNoMoreOften) {
  const ServableId id =
      publish({function_callee("f", 1, 1, 4), function_callee("g", 1, 1, 4)}, {chain("m", {0}), chain("other", {1})});
  lane_id = attach(id, &lane, {0, 1});
  const auto flood = [&] {
    for (int i = 0; i < 8; ++i) send(0, 0, 1);
  };
  flood();
  const auto last = send(1, 7, 2, 1, "other");
  EXPECT_LE(batches_until(last, flood), static_cast<int>(CalleeQueue::kMostPassed) + 6)
      << "some full batches go ahead of one that is not full, so that the lane stays busy";
}

TEST_F(OrderTest, PriorityGoesBeforeAgeAmongCallees) {
  const ServableId id =
      publish({function_callee("f", 1, 1, 4), function_callee("g", 1, 1, 4)}, {chain("m", {0}), chain("other", {1})});
  lane_id = attach(id, &lane, {0, 1});
  for (int i = 0; i < 20; ++i) send(0, 3, 1);
  for (int i = 0; i < 4; ++i) send(1, 0, 2, 1, "other");
  EXPECT_EQ(run(), (std::vector<float>{2, 2, 2, 2}));
  EXPECT_EQ(run(), (std::vector<float>{1, 1, 1, 1}));
}

}  // namespace
}  // namespace servoir
