// ArrivingMessage: how much of a message that comes in pieces is still to come, and how much memory it may reserve for
// that.
//
// Where the budget for announcements allows it, this is all that the message announces. Otherwise the memory grows
// with what has come: the reader begins with a little and doubles it each time that it is full. Belongs to one I/O
// thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/status.h"
#include "memory/memory_budget.h"

namespace servoir {

class ArrivingMessage {
 public:
  // Room that a message may have beyond what has come of it, whatever the budget says.
  static constexpr std::uint64_t kFreeBytes = 16384;

  // The budget outlives it.
  ArrivingMessage(std::uint64_t bytes, MemoryBudget* budget) : bytes_(bytes), to_come_(bytes), share_(budget, 0) {}

  // The next bytes have come. Internal where they are more than were announced.
  [[nodiscard]] Status come(std::uint64_t bytes) {
    if (bytes > to_come_) {
      return Status::Internal("a message gets " + std::to_string(bytes) + " bytes more, " + std::to_string(to_come_) +
                              " were announced");
    }
    to_come_ -= bytes;
    if (to_come_ <= give_back_at_) {
      share_.keep(to_come_);
      give_back_at_ = share_.held() - std::min(share_.held(), kGiveBackBytes);
    }
    return {};
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // in all
  [[nodiscard]] std::uint64_t to_come() const { return to_come_; }

  // Whether memory may be reserved for all that is still to come.
  [[nodiscard]] bool may_reserve_all() {
    if (share_.held() != 0 || to_come_ == 0) return true;
    if (!share_.add(to_come_)) return false;
    give_back_at_ = to_come_ - std::min(to_come_, kGiveBackBytes);
    return true;
  }
  // How much room to take for `total` bytes of it, of which `have` have come.
  [[nodiscard]] std::uint64_t room_for(std::uint64_t total, std::uint64_t have) {
    return may_reserve_all() ? total : std::min(total, 2 * have + kFreeBytes);
  }

 private:
  // How often a message gives back what it has of the budget.
  static constexpr std::uint64_t kGiveBackBytes = 1U << 20U;

  const std::uint64_t bytes_;
  std::uint64_t to_come_;
  MemoryShare share_;               // of what is still to come; or nothing
  std::uint64_t give_back_at_ = 0;  // when to_come_ has come down to this
};

}  // namespace servoir
