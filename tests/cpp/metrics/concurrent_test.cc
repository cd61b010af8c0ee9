// Threads that count, declare and end figures while others read them: for the thread sanitizer, and for lost counts.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "metrics/counter.h"
#include "metrics/histogram.h"
#include "metrics/registry.h"
#include "metrics/text_form.h"

namespace servoir::metrics {
namespace {

TEST(Concurrent, NoCountIsLost) {
  constexpr int kThreads = 4;
  constexpr std::uint64_t kCounts = 20'000;
  Registry registry;
  const Scope scope(&registry);
  Counter shared(scope, {"test_shared", "What all threads count."});
  Gauge level(scope, {"test_level", "What goes up and down."});
  Histogram sizes(scope, {"test_sizes", "What is sorted."}, kSizes);
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      Counter own(scope, {"test_own", "What each thread counts for itself."});
      for (std::uint64_t i = 0; i < kCounts; ++i) {
        shared.add();
        own.add();
        level.add(i % 2 == 0 ? 1 : -1);
        sizes.record(i % 8);
      }
      ++done;
      while (done < kThreads + 1) std::this_thread::yield();  // its own figure is read first
    });
  }
  double before = 0;
  while (done < kThreads) {
    const double now = registry.snapshot().total("test_shared");
    EXPECT_GE(now, before);
    before = now;
  }
  const Snapshot last = registry.snapshot();
  ++done;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(last.total("test_shared"), kThreads * kCounts);
  EXPECT_EQ(last.total("test_own"), kThreads * kCounts);
  EXPECT_EQ(last.total("test_level"), 0);
  EXPECT_EQ(last.total("test_sizes"), kThreads * (kCounts / 8) * (0 + 1 + 2 + 3 + 4 + 5 + 6 + 7));
  EXPECT_EQ(registry.snapshot().total("test_own"), 0);
}

TEST(Concurrent, FiguresComeAndGoWhileTheyAreRead) {
  Registry registry;
  std::atomic<bool> stop{false};
  std::atomic<int> readings{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !stop; ++i) {
        const Scope scope(
            &registry, {{"servable", std::string(1, static_cast<char>('a' + t))}, {"version", std::to_string(i % 5)}});
        Counter batches(scope, {"test_batches", "Batches that were run."});
        const auto level = std::make_unique<int>(7);  // gone with the figure that reads it
        const GaugeReading reading(scope, {"test_level", "How high it stands."}, [&] {
          ++readings;
          return static_cast<double>(*level);
        });
        Histogram sizes(scope, {"test_sizes", "Instances of a batch."}, kSizes);
        batches.add();
        sizes.record(3);
      }
    });
  }
  for (int i = 0; i < 500 || readings == 0; ++i) {
    Payload text;
    write_metrics(registry, i % 2 == 0 ? TextForm::kPrometheus : TextForm::kOpenMetrics, &text);
    const Snapshot now = registry.snapshot();
    EXPECT_LE(now.total("test_batches"), 3);
    const double level = now.total("test_level");
    EXPECT_TRUE(level == 0 || level == 7 || level == 14 || level == 21) << level;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(registry.snapshot().families.empty());
}

}  // namespace
}  // namespace servoir::metrics
