#include "net/timer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>

namespace servoir {
namespace {

constexpr std::chrono::seconds kPatience{20};

TEST(TimerTest, KeepsOnlyItsLastTime) {
  EventLoop loop;
  loop.start();
  std::promise<void> rang;
  std::atomic<int> times{0};
  std::unique_ptr<Timer> timer;
  loop.run_and_wait([&] {
    timer = std::make_unique<Timer>(&loop, [&] {
      if (++times == 1) rang.set_value();
    });
    timer->set(Clock::now() - std::chrono::seconds(1));
    timer->set(Clock::now() + std::chrono::hours(1));
    timer->set(Clock::now() + std::chrono::milliseconds(5));
  });
  EXPECT_EQ(rang.get_future().wait_for(kPatience), std::future_status::ready);
  loop.run_and_wait([&] { timer->set(Clock::now() - std::chrono::seconds(1)); });
  loop.run_and_wait([&] { timer->cancel(); });
  const int so_far = times;
  loop.run_and_wait([] {});
  EXPECT_EQ(times, so_far);
  loop.run_and_wait([&] { timer.reset(); });
}

}  // namespace
}  // namespace servoir
