// Pace: whether enough bytes come, or are taken, from time-out to time-out. A byte now and then is no progress.
//
// Time is counted in sweeps of a ConnectionSet. Belongs to the thread of what it watches.
#pragma once

#include <cstdint>

namespace servoir {

class Pace {
 public:
  // So many bytes have to move within a time-out where more is owed; 100 seconds, unless a test wants another one.
  static constexpr std::uint64_t kLeastBytes = 65536;
  // For what is owed altogether: the whole may not take longer than a hundred time-outs.
  [[nodiscard]] static std::uint64_t least_of(std::uint64_t bytes) {
    return bytes / 100 > kLeastBytes ? bytes / 100 : kLeastBytes;
  }

  // Something happened that restarts the time-out; from now on `least` bytes are progress.
  void restart(std::uint32_t sweep, std::uint64_t least = 1) {
    since_ = sweep;
    least_ = least;
    recent_ = 0;
  }
  void count(std::uint64_t bytes, std::uint32_t sweep) {
    recent_ += bytes;
    if (recent_ >= least_) restart(sweep, least_);
  }
  // How many sweeps ago the last progress was.
  [[nodiscard]] std::uint32_t silent(std::uint32_t sweep) const { return sweep - since_; }
  [[nodiscard]] std::uint64_t recent() const { return recent_; }  // bytes after the last progress
  [[nodiscard]] std::uint64_t least() const { return least_; }

 private:
  std::uint32_t since_ = 0;
  std::uint64_t least_ = 1;
  std::uint64_t recent_ = 0;
};

}  // namespace servoir
