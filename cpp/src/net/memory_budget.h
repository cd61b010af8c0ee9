// MemoryBudget: how much all REST clients together may make the server hold in bodies that are still coming and in
// answers that nobody has read. MemoryShare: what one connection holds of it.
//
// Only what a client has really sent or asked for is counted, not what it announces. Any thread may use a budget; a
// share belongs to its connection's thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace servoir {

class MemoryBudget {
 public:
  explicit MemoryBudget(std::uint64_t limit) : limit_(limit) {}

  // More for one who has `own`. False when that would be too much; one who is alone may have what it needs.
  [[nodiscard]] bool take(std::uint64_t bytes, std::uint64_t own) {
    const std::uint64_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
    if (before == own || before + bytes <= limit_) return true;
    give(bytes);
    return false;
  }
  void give(std::uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
};

class MemoryShare {
 public:
  // Clients that send and ask for so little are served however much others hold.
  static constexpr std::uint64_t kFree = 65536;

  explicit MemoryShare(MemoryBudget* budget) : budget_(budget) {}  // null: without limit
  ~MemoryShare() { clear(); }
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  [[nodiscard]] bool add(std::uint64_t bytes) {
    if (budget_ == nullptr) return true;
    const std::uint64_t all = seen_ + bytes;
    if (all > kFree) {
      if (!budget_->take(all - held_, held_)) return false;
      held_ = all;
    }
    seen_ = all;
    return true;
  }
  void clear() {
    if (held_ > 0) budget_->give(held_);
    held_ = seen_ = 0;
  }

 private:
  MemoryBudget* const budget_;
  std::uint64_t seen_ = 0;
  std::uint64_t held_ = 0;  // counted in the budget
};

}  // namespace servoir
