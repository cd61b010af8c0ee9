// ServiceTime: how long a worker takes for a batch of so many instances, learnt from the batches that it has run.
//
// It is the line a + b * rows that fits the last batches best; an older batch counts less than a newer one. Where all
// batches were of one size, the line is not known, and the shortest time that agrees with them is taken.
//
// A plain value. In the scheduler it is used under its version's lock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace servoir {

class ServiceTime {
 public:
  void saw(std::uint64_t rows, std::chrono::nanoseconds took) {
    const auto n = static_cast<double>(rows);
    const auto t = static_cast<double>(std::max<std::int64_t>(took.count(), 0));
    weight_ = kKeep * weight_ + 1;
    rows_ = kKeep * rows_ + n;
    time_ = kKeep * time_ + t;
    rows_rows_ = kKeep * rows_rows_ + n * n;
    rows_time_ = kKeep * rows_time_ + n * t;
  }
  // Of a batch of at least one instance; zero while nothing is known.
  [[nodiscard]] std::chrono::nanoseconds of(std::uint64_t rows) const {
    if (weight_ == 0) return {};
    const double mean_rows = rows_ / weight_;
    const double mean_time = time_ / weight_;
    const double spread = rows_rows_ / weight_ - mean_rows * mean_rows;
    const double away = static_cast<double>(rows) - mean_rows;
    const double steepest = mean_time / mean_rows;  // no batch takes less than no time
    double slope = away < 0 ? steepest : 0;
    if (spread > kLeastSpread * mean_rows * mean_rows) {
      slope = std::clamp((rows_time_ / weight_ - mean_rows * mean_time) / spread, 0.0, steepest);
    }
    return std::chrono::nanoseconds(static_cast<std::int64_t>(mean_time + slope * away));
  }

 private:
  static constexpr double kKeep = 15.0 / 16;  // of the weight of all earlier batches, with each new one
  static constexpr double kLeastSpread = 1e-3;
  double weight_ = 0;
  double rows_ = 0;
  double time_ = 0;
  double rows_rows_ = 0;
  double rows_time_ = 0;
};

}  // namespace servoir
