// Histogram: how often values lay in which range, and their sum.
//
//   metrics::Histogram wait{scope, {"servoir_callee_queue_seconds", "…", Unit::kSeconds}, metrics::kDurations};
//
// record() may be called by any thread; it is a search among the bounds and two relaxed atomic additions.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>

#include "metrics/registry.h"

namespace servoir::metrics {

// In nanoseconds: 1, 2.5 and 5 of each power of ten from 100 µs to 10 s.
inline constexpr std::array<std::uint64_t, 16> kDurations = {
    100'000,    250'000,     500'000,     1'000'000,   2'500'000,     5'000'000,     10'000'000,    25'000'000,
    50'000'000, 100'000'000, 250'000'000, 500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};
// Instances in a batch.
inline constexpr std::array<std::uint64_t, 11> kSizes = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

class Histogram final : private Source {
 public:
  // The bounds ascend and live for ever: each is the largest value of its bucket. A last bucket, without bound, takes
  // the rest. Bounds and values are nanoseconds where the unit is seconds.
  Histogram(const Scope& scope, const About& about, std::span<const std::uint64_t> bounds,
            std::initializer_list<Label> more = {});

  void record(std::uint64_t value);

 private:
  void add_to(Sample* sample) const override;

  const std::span<const std::uint64_t> bounds_;
  const std::unique_ptr<std::atomic<std::uint64_t>[]> buckets_;
  std::atomic<std::uint64_t> sum_{0};
  Entry entry_;
};

}  // namespace servoir::metrics
