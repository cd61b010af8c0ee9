// Outbox: the records that the scheduler has written for a lane and that are on their way into the lane's ring.
//
// Records are added under the lock of the lane's version, and put into the ring without that lock, so nobody waits
// there while they are copied and the worker is woken. Whichever thread puts them there, they keep the order in which
// they were added. All functions may be called by any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/mutex.h"
#include "channel/lane.h"

namespace servoir {

class Outbox {
 public:
  // The port lives until close() has returned.
  explicit Outbox(LanePort* port) : max_record_(port->max_record()), port_(port) {}
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  // The largest record that may be added.
  [[nodiscard]] std::uint32_t max_record() const { return max_record_; }
  // Whoever adds a record calls post() afterwards.
  void add(std::span<const std::byte> record);
  // Puts what was added into the ring. False if the ring is full: the rest goes there with a later call.
  bool post();
  // The lane is gone: what has not been posted is dropped, and the port is not used any more.
  void close();

 private:
  struct Records {
    std::vector<std::byte> bytes;  // of all of them, one after the other
    std::vector<std::uint32_t> sizes;
  };

  const std::uint32_t max_record_;
  Mutex adding_;
  Records added_ SERVOIR_GUARDED_BY(adding_);
  Mutex posting_;                                // is taken first
  LanePort* port_ SERVOIR_GUARDED_BY(posting_);  // null after close()
  Records taken_ SERVOIR_GUARDED_BY(posting_);
  std::size_t posted_ SERVOIR_GUARDED_BY(posting_) = 0;        // records of taken_
  std::size_t posted_bytes_ SERVOIR_GUARDED_BY(posting_) = 0;  // likewise
};

}  // namespace servoir
