#include "net/io_thread.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace servoir {
namespace {

constexpr std::chrono::seconds kPatience{20};

class Target final : public AnswerTarget {
 public:
  explicit Target(int expected) : expected_(expected) {}
  void on_answer(std::shared_ptr<Request> /*request*/) override {
    if (++answers_ == expected_) all_.set_value();
  }
  bool wait() { return all_.get_future().wait_for(kPatience) == std::future_status::ready; }
  [[nodiscard]] int answers() const { return answers_; }

 private:
  const int expected_;
  int answers_ = 0;  // of the loop's thread; read when it has ended, or is known to be still
  std::promise<void> all_;
};

class Readable final : public FdEvents {
 public:
  void on_readable() override { read.set_value(); }
  std::promise<void> read;
};

TEST(IoThreadTest, RunsWorkInItsThreadInOrder) {
  IoThread thread({});
  thread.start();
  EXPECT_FALSE(thread.here());
  std::vector<int> order;
  bool here = false;
  thread.post([&] { order.push_back(1); });
  thread.post([&] { order.push_back(2); });
  thread.call([&] {
    order.push_back(3);
    here = thread.here();
    thread.call([&] { order.push_back(4); });  // at once
  });
  EXPECT_TRUE(here);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

TEST(IoThreadTest, DeliversAnswersFromManyThreads) {
  IoThread thread({});
  thread.start();
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  Target target(kThreads * kEach);
  std::vector<std::thread> others;
  for (int t = 0; t < kThreads; ++t) {
    others.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) thread.deliver(&target, nullptr);
    });
  }
  for (std::thread& other : others) other.join();
  EXPECT_TRUE(target.wait());
}

TEST(IoThreadTest, DeliversAtOnceInTheLoop) {
  IoThread thread({});
  thread.start();
  Target target(1);
  thread.call([&] {
    thread.deliver(&target, nullptr);
    EXPECT_EQ(target.answers(), 1);
  });
}

TEST(IoThreadTest, PumpsOnceATurn) {
  std::atomic<int> pumps{0};
  IoThreadOptions options;
  options.pump = [&] { ++pumps; };
  IoThread thread(options);
  thread.start();
  thread.call([&] {
    for (int i = 0; i < 100; ++i) thread.need_pump();
    EXPECT_EQ(pumps, 0);
  });
  thread.call([] {});
  thread.call([] {});  // behind the end of the turn
  EXPECT_EQ(pumps, 1);
}

TEST(IoThreadTest, WatchesDescriptors) {
  IoThread thread({});
  thread.start();
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::unique_ptr<FdWatch> watch;
  const auto first = std::make_shared<Readable>();
  thread.call([&] {
    watch = std::make_unique<FdWatch>(&thread, UniqueFd(fd));
    watch->wait_readable(first);
  });
  ASSERT_EQ(::eventfd_write(fd, 1), 0);
  EXPECT_EQ(first->read.get_future().wait_for(kPatience), std::future_status::ready);
  const auto second = std::make_shared<Readable>();
  thread.call([&] { watch->wait_readable(second); });  // it is still readable
  EXPECT_EQ(second->read.get_future().wait_for(kPatience), std::future_status::ready);
  auto third = std::make_shared<Readable>();
  const std::weak_ptr<Readable> is_held = third;
  eventfd_t count = 0;
  ASSERT_EQ(::eventfd_read(fd, &count), 0);
  thread.call([&] {
    watch->wait_readable(std::move(third));
    EXPECT_FALSE(is_held.expired());
    watch->close();
    watch->close();
  });
  thread.call([&] { watch.reset(); });
  thread.call([] {});  // the ended wait is let go of in a turn of its own
  EXPECT_TRUE(is_held.expired());
}

TEST(IoThreadTest, ATimerKeepsOnlyItsLastTime) {
  IoThread thread({});
  thread.start();
  std::promise<void> rang;
  std::atomic<int> times{0};
  std::unique_ptr<Timer> timer;
  thread.call([&] {
    timer = std::make_unique<Timer>(&thread, [&] {
      if (++times == 1) rang.set_value();
    });
    timer->set(Clock::now() - std::chrono::seconds(1));
    timer->set(Clock::now() + std::chrono::hours(1));
    timer->set(Clock::now() + std::chrono::milliseconds(5));
  });
  EXPECT_EQ(rang.get_future().wait_for(kPatience), std::future_status::ready);
  thread.call([&] { timer->set(Clock::now() - std::chrono::seconds(1)); });
  thread.call([&] { timer->cancel(); });
  const int so_far = times;
  thread.call([] {});
  EXPECT_EQ(times, so_far);
  thread.call([&] { timer.reset(); });
}

TEST(IoThreadTest, RunsCallsByItselfAfterItsEnd) {
  IoThread thread({});
  thread.start();
  thread.stop();
  bool ran = false;
  thread.call([&] { ran = true; });
  EXPECT_TRUE(ran);
  Target target(1);
  thread.deliver(&target, nullptr);
  EXPECT_EQ(target.answers(), 0);
}

}  // namespace
}  // namespace servoir
