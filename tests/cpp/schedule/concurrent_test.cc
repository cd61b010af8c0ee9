// Eight threads submit and cancel, with different priorities, while two worker threads answer and one of them dies now
// and then.
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "servable_fixture.h"

namespace servoir {
namespace {

// Hands records to the thread that plays the worker.
class QueueLane final : public LanePort {
 public:
  bool post(std::span<const std::byte> record) override {
    RunTask task;
    if (!read_run(record, &task).ok()) return false;
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_one();
    return true;
  }
  [[nodiscard]] std::uint32_t max_record() const override { return 1U << 20U; }

  bool take(RunTask* task) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || !tasks_.empty(); });
    if (tasks_.empty()) return false;
    *task = std::move(tasks_.front());
    tasks_.pop_front();
    return true;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<RunTask> tasks_;
  bool closed_ = false;
};

class ConcurrentScheduler : public SchedulerTest {
 protected:
  // Runs tasks of the lane: one float a row, plus one. Every 50th task the worker "dies" and comes back.
  void work(ServableId id, bool dies) {
    while (!stop_) {
      QueueLane lane;
      const AttachmentId lane_id = *scheduler->attach(id, &lane, std::vector<std::uint32_t>{0}, "worker");
      {
        const std::lock_guard lock(lanes_mutex_);
        lanes_.push_back(&lane);
        if (stop_) lane.close();
      }
      RunTask task;
      for (int count = 0; lane.take(&task) && !(dies && count == 50); ++count) {
        RowsResult result;
        result.id = task.head.task;
        result.rows = task.head.rows;
        OutputPiece piece;
        piece.offset = task.head.room_offset;
        piece.row_bytes = 4;
        piece.rows = task.head.rows;
        piece.dtype = DataType::kFloat32;
        piece.row_shape = {1};
        std::uint32_t row = 0;
        for (const float x : rows_of(task)) {
          const float y = x + 1;
          std::memcpy(arena->base() + piece.offset + 4 * row++, &y, 4);
        }
        result.outputs = {{piece}};
        MessageWriter writer;
        write_done(result, &writer);
        EXPECT_TRUE(scheduler->on_record(lane_id, writer.bytes()).ok());
        scheduler->pump();
      }
      {
        const std::lock_guard lock(lanes_mutex_);
        std::erase(lanes_, &lane);
      }
      scheduler->detach(lane_id, "died");
    }
  }

  std::atomic<bool> stop_{false};
  std::mutex lanes_mutex_;
  std::vector<QueueLane*> lanes_;
};

TEST_F(ConcurrentScheduler, EveryRequestIsAnsweredOnceAndRight) {
  constexpr int kThreads = 8;
  constexpr int kRequests = 750;
  std::array<char, kThreads> senders{};  // told apart by their addresses
  const ServableId id = publish({function_callee("f", 1, 1, 16)}, {chain("m", {0})});
  FakeLane first;  // so that the version is running before the workers are
  scheduler->detach(attach(id, &first, {0}), "over");
  std::thread steady([&] { work(id, false); });
  std::thread mortal([&] { work(id, true); });
  std::atomic<int> answers{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < kRequests; ++i) {
        const auto value = static_cast<float>(i);
        const auto n = static_cast<std::uint32_t>(1 + random() % 3);
        auto method = scheduler->find("s", 0, "m");
        auto made = make_request(*method, n);
        made->info.sender = &senders.at(static_cast<std::size_t>(t));
        made->info.priority = static_cast<std::uint32_t>(random() % 8);
        for (std::uint32_t k = 0; k < n; ++k) made->at(0, k) = floats({2}, value);
        made->answer = [&, value](const std::shared_ptr<Request>& done, bool /*last*/) {
          ++answers;
          if (!done->failure.ok()) return;  // cancelled
          for (std::uint32_t k = 0; k < done->instances; ++k) {
            if (done->errors[k].ok() && output(*done, k) != value + 1) ++wrong;
          }
        };
        scheduler->submit(made);
        scheduler->pump();
        if (random() % 16 == 0) scheduler->cancel(made, Status::Cancelled("gone"));
      }
    });
  }
  for (std::thread& client : clients) client.join();
  while (answers < kThreads * kRequests) std::this_thread::yield();
  stop_ = true;
  {
    const std::lock_guard lock(lanes_mutex_);
    for (QueueLane* lane : lanes_) lane->close();
  }
  steady.join();
  mortal.join();
  EXPECT_EQ(answers, kThreads * kRequests);
  EXPECT_EQ(wrong, 0);
  scheduler->withdraw(id, "end");
  slabs->forget(1);
  EXPECT_EQ(arena->usage().blocks, 0U);
}

}  // namespace
}  // namespace servoir
