#include "net/event_loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <future>
#include <thread>
#include <vector>

namespace servoir {
namespace {

TEST(EventLoopTest, RunsWorkInItsThreadInOrder) {
  EventLoop loop;
  loop.start();
  EXPECT_FALSE(loop.here());
  std::vector<int> order;
  bool here = false;
  loop.post([&] { order.push_back(1); });
  loop.post([&] { order.push_back(2); });
  loop.run_and_wait([&] {
    order.push_back(3);
    here = loop.here();
    loop.run_and_wait([&] { order.push_back(4); });  // at once
  });
  EXPECT_TRUE(here);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

TEST(EventLoopTest, RunsTheStepsOfATurnsEndInOrderUntilNoneHasAnythingToDo) {
  EventLoop loop;
  std::vector<int> order;
  int first = 0;
  int second = 0;
  loop.at_turn_end([&] {
    if (first == 0) return false;
    --first;
    order.push_back(1);
    return true;
  });
  loop.at_turn_end([&] {
    if (second == 0) return false;
    --second;
    order.push_back(2);
    first = second;  // has the first one run again
    return true;
  });
  loop.start();
  loop.run_and_wait([&] {
    first = 1;
    second = 2;
    for (int i = 0; i < 100; ++i) loop.want_turn_end();
    EXPECT_TRUE(order.empty());
  });
  // The loop looks twice before it ends the turn, and each call may come before the next step of that.
  for (int i = 0; i < 3; ++i) loop.run_and_wait([] {});
  EXPECT_EQ(order, (std::vector<int>{1, 2, 1, 2}));
}

TEST(EventLoopTest, RunsCallsByItselfAfterItsEnd) {
  EventLoop loop;
  loop.start();
  loop.stop();
  bool ran = false;
  loop.run_and_wait([&] { ran = true; });
  EXPECT_TRUE(ran);
}

// A call that the loop has not come to at its end must not wait for ever.
TEST(EventLoopTest, LeavesNobodyWaitingAtItsEnd) {
  EventLoop loop;
  loop.start();
  std::promise<void> busy;
  std::promise<void> release;
  loop.post([&] {
    busy.set_value();
    release.get_future().wait();
  });
  busy.get_future().wait();
  std::atomic<int> ran{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) callers.emplace_back([&] { loop.run_and_wait([&] { ++ran; }); });
  std::thread stopper([&] { loop.stop(); });
  while (!loop.context().stopped()) std::this_thread::yield();
  EXPECT_EQ(ran, 0) << "the loop's thread is still in the loop, so that nobody else may run what belongs to it";
  release.set_value();
  for (std::thread& caller : callers) caller.join();
  stopper.join();
  EXPECT_EQ(ran, 8);
}

}  // namespace
}  // namespace servoir
