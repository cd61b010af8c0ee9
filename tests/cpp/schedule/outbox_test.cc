#include "schedule/outbox.h"

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "servable_fixture.h"

namespace servoir {
namespace {

// Keeps the first word of each record. Only one thread may post at a time.
class WordLane final : public LanePort {
 public:
  bool post(std::span<const std::byte> record) override {
    EXPECT_FALSE(posting_.exchange(true)) << "two threads post at the same time";
    const bool taken = words.size() < room;
    if (taken) words.push_back(*MessageReader(record).get<std::uint64_t>());
    posting_ = false;
    return taken;
  }
  [[nodiscard]] std::uint32_t max_record() const override { return 4096; }

  std::vector<std::uint64_t> words;
  std::size_t room = 1'000'000;

 private:
  std::atomic<bool> posting_{false};
};

void add(Outbox* outbox, std::uint64_t word) {
  MessageWriter writer;
  writer.put(word);
  if (word % 2 == 0) writer.put(word);
  outbox->add(writer.bytes());
}

TEST(Outbox, PostsInTheOrderOfAddingWhateverThreadsPost) {
  WordLane lane;
  Outbox outbox(&lane);
  std::mutex scheduler;
  std::uint64_t next = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        {
          const std::lock_guard lock(scheduler);
          add(&outbox, next++);
        }
        EXPECT_TRUE(outbox.post());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(lane.words.size(), 8000U);
  for (std::uint64_t i = 0; i < lane.words.size(); ++i) EXPECT_EQ(lane.words[i], i);
}

TEST(Outbox, KeepsWhatAFullRingDoesNotTake) {
  WordLane lane;
  Outbox outbox(&lane);
  lane.room = 1;
  for (std::uint64_t word = 1; word <= 3; ++word) add(&outbox, word);
  EXPECT_FALSE(outbox.post());
  add(&outbox, 4);
  EXPECT_FALSE(outbox.post());
  lane.room = 3;
  EXPECT_FALSE(outbox.post());
  lane.room = 10;
  EXPECT_TRUE(outbox.post());
  EXPECT_EQ(lane.words, (std::vector<std::uint64_t>{1, 2, 3, 4}));
}

TEST(Outbox, UsesNoPortAfterItWasClosed) {
  WordLane lane;
  Outbox outbox(&lane);
  add(&outbox, 1);
  outbox.close();
  add(&outbox, 2);
  EXPECT_TRUE(outbox.post());
  EXPECT_TRUE(lane.words.empty());
}

// While a record is put into the ring, requests come and go in other threads.
class SlowLane final : public LanePort {
 public:
  bool post(std::span<const std::byte> /*record*/) override {
    if (meanwhile) {
      std::future<void> other = std::async(std::launch::async, std::exchange(meanwhile, nullptr));
      waited = other.wait_for(std::chrono::seconds(10)) != std::future_status::ready;
      rest = std::move(other);
    }
    return true;
  }
  [[nodiscard]] std::uint32_t max_record() const override { return 1U << 20U; }

  std::function<void()> meanwhile;
  bool waited = true;
  std::future<void> rest;
};

TEST_F(SchedulerTest, NobodyWaitsForTheSchedulerWhileARecordIsPosted) {
  SlowLane lane;
  const ServableId id = publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})});
  ASSERT_TRUE(scheduler->attach(id, &lane, std::vector<std::uint32_t>{0}, "worker").ok());
  const auto later = request("m", {floats({2}, 2)});
  lane.meanwhile = [&] {
    scheduler->submit(later);
    scheduler->cancel(later, Status::Cancelled("enough"));
  };
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  EXPECT_FALSE(lane.waited);
  lane.rest.wait();
  EXPECT_EQ(answered.size(), 1U);
}

}  // namespace
}  // namespace servoir
