// Rounds: fair queueing among the senders (connections) whose instances wait for one callee with the same priority.
//
// In each round every sender has a turn of a few instances. An instance gets the round of its sender's next turn: so a
// sender that has queued thousands waits after a sender that has queued a few, and what a sender queues within its
// turn stays together and in order. (It is start-time fair queueing, by Goyal, Vin and Cheng, 1996, with turns for
// packets.)
//
// A round ends when an instance of the next is run, or after so many batches: otherwise a stream of new senders could
// hold one round open for ever, and all that waits for a later round would never run.
//
// It is used under its scheduler's lock only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

namespace servoir {

class Rounds {
 public:
  // Batches after which a round is over at the latest.
  static constexpr std::uint32_t kMostBatches = 16;

  // `turn`: how many instances a sender has in each round.
  explicit Rounds(std::uint32_t turn) : turn_(turn) {}

  [[nodiscard]] std::uint32_t turn() const { return turn_; }
  // So many instances more of the sender, which is only compared. Returns the round of the first of them.
  std::uint64_t join(const void* sender, std::uint32_t count) {
    Sender& of = senders_[sender];
    // Turns that were not used, because the requests had ended meanwhile, are not lost.
    const std::uint64_t latest = round_ + (of.waiting + turn_ - 1) / turn_;
    if (of.round < round_ || of.round > latest) of = {std::clamp(of.round, round_, latest), 0, of.waiting};
    const std::uint64_t first = of.round;
    of.used += count;
    of.round += of.used / turn_;
    of.used %= turn_;
    add_waiting(&of, count);
    if (senders_.size() > forget_at_) forget();
    return first;
  }
  // So many instances of the sender wait no longer.
  void leave(const void* sender, std::uint32_t count) { add_waiting(&senders_.at(sender), 0 - std::uint64_t{count}); }
  // So many that had left wait again, in their old round.
  void come_back(const void* sender, std::uint32_t count) { add_waiting(&senders_[sender], count); }
  // At most so many instances go before the next one of the sender.
  [[nodiscard]] std::uint64_t before(const void* sender) const {
    const auto found = senders_.find(sender);
    const std::uint64_t round = found == senders_.end() ? round_ : std::max(found->second.round, round_);
    return (round - round_ + 1) * turn_ * waiting_senders_;
  }
  // A batch was begun by an instance of this round.
  void began(std::uint64_t round) {
    if (round > round_) {
      round_ = round;
      batches_ = 0;
    } else if (++batches_ >= kMostBatches) {
      ++round_;
      batches_ = 0;
    }
  }

 private:
  struct Sender {
    std::uint64_t round = 0;  // of its next instance
    std::uint64_t used = 0;   // instances that it has queued for that round
    std::uint64_t waiting = 0;
  };

  void add_waiting(Sender* of, std::uint64_t count) {
    if (of->waiting > 0) --waiting_senders_;
    of->waiting += count;
    if (of->waiting > 0) ++waiting_senders_;
  }
  // Drops those of whom nothing waits: they are as if they had never been there.
  void forget() {
    std::erase_if(senders_, [](const auto& sender) { return sender.second.waiting == 0; });
    forget_at_ = std::max(kKept, 2 * senders_.size());
  }

  static constexpr std::size_t kKept = 64;
  std::uint32_t turn_;
  std::uint64_t round_ = 0;
  std::uint32_t batches_ = 0;  // begun in this round
  std::unordered_map<const void*, Sender> senders_;
  std::uint64_t waiting_senders_ = 0;
  std::size_t forget_at_ = kKept;
};

}  // namespace servoir
