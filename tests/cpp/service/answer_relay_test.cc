#include "service/answer_relay.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "memory/arena.h"
#include "memory/slab.h"

namespace servoir::service {
namespace {

class Receiver final : public AnswerReceiver {
 public:
  void on_answer(void* call, std::shared_ptr<Request> /*request*/, bool /*last*/) const override {
    ++*static_cast<int*>(call);
  }
};

class AnswerRelayTest : public ::testing::Test {
 protected:
  std::unique_ptr<Arena> arena = std::move(Arena::create(16U << 20U)).value();
  SlabPool slabs{arena.get()};
  metrics::Registry figures;
  Scheduler scheduler{&slabs, &figures, {}};
  EventLoop loop;
  AnswerRelay relay{&loop, &scheduler, metrics::Scope(&figures)};
  Receiver receiver;
};

TEST_F(AnswerRelayTest, DeliversAnswersFromManyThreads) {
  loop.start();
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  std::vector<int> answers(kThreads);  // of the loop's thread
  std::vector<std::thread> others;
  for (int t = 0; t < kThreads; ++t) {
    others.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) relay.deliver(&receiver, &answers[static_cast<std::size_t>(t)], nullptr, true);
    });
  }
  for (std::thread& other : others) other.join();
  loop.run_and_wait([] {});  // after the last that was posted
  loop.run_and_wait([&] { EXPECT_EQ(answers, std::vector<int>(kThreads, kEach)); });
}

TEST_F(AnswerRelayTest, DeliversAtOnceInTheLoop) {
  loop.start();
  int answers = 0;
  loop.run_and_wait([&] {
    relay.deliver(&receiver, &answers, nullptr, true);
    EXPECT_EQ(answers, 1);
  });
}

TEST_F(AnswerRelayTest, HandsOverWhatIsOnTheWayWhenTheLoopHasStopped) {
  loop.start();
  loop.stop();
  int answers = 0;
  relay.deliver(&receiver, &answers, nullptr, true);
  EXPECT_EQ(answers, 0);
  relay.finish();
  EXPECT_EQ(answers, 1);
}

}  // namespace
}  // namespace servoir::service
