#include "metrics/histogram.h"

#include <algorithm>

namespace servoir::metrics {

Histogram::Histogram(const Scope& scope, const About& about, std::span<const std::uint64_t> bounds,
                     std::initializer_list<Label> more)
    : bounds_(bounds),
      buckets_(std::make_unique<std::atomic<std::uint64_t>[]>(bounds.size() + 1)),
      entry_(scope, about, Kind::kHistogram, bounds, more, this) {}

void Histogram::record(std::uint64_t value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  buckets_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

void Histogram::add_to(Sample* sample) const {
  for (std::size_t i = 0; i < sample->buckets.size(); ++i) {
    sample->buckets[i] += buckets_[i].load(std::memory_order_relaxed);
  }
  sample->value += static_cast<double>(sum_.load(std::memory_order_relaxed));
}

}  // namespace servoir::metrics
