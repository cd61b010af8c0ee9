// LeftOutRecords: how many records the logs of the server and of its workers have left out, as a figure.
//
// Any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <set>

#include "base/log.h"
#include "base/mutex.h"
#include "channel/lane.h"
#include "metrics/counter.h"

namespace servoir {

class LeftOutRecords {
 public:
  explicit LeftOutRecords(const metrics::Scope& scope)
      : figure_(
            scope,
            {"servoir_log_left_out_records", "Records that were left out of the logs of the server and its workers."},
            [this] { return static_cast<double>(count()); }) {}

  // Counts what the lane's worker leaves out.
  void add(std::shared_ptr<ServerLane> lane) {
    const MutexLock lock(&mutex_);
    lanes_.insert(std::move(lane));
  }
  // What it has left out so far still counts.
  void end(const std::shared_ptr<ServerLane>& lane) {
    const MutexLock lock(&mutex_);
    if (lanes_.erase(lane) > 0) ended_ += lane->left_out_records();
  }

 private:
  [[nodiscard]] std::uint64_t count() const {
    const MutexLock lock(&mutex_);
    std::uint64_t count = log_left_out() + ended_;
    for (const auto& lane : lanes_) count += lane->left_out_records();
    return count;
  }

  mutable Mutex mutex_;
  std::set<std::shared_ptr<ServerLane>> lanes_ SERVOIR_GUARDED_BY(mutex_);
  std::uint64_t ended_ SERVOIR_GUARDED_BY(mutex_) = 0;
  const metrics::CounterReading figure_;
};

}  // namespace servoir
