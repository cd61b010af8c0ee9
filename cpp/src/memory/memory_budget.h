// MemoryBudget: how much memory all holders of a kind together may have, such as requests that are still coming, or the
// requests of one connection. MemoryShare: what one of them has of it.
//
// Any thread may use a budget; a share belongs to its holder's thread. A budget outlives the shares of it: a share that
// has something of a budget that a shared_ptr owns keeps it alive.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>

namespace servoir {

class MemoryBudget : public std::enable_shared_from_this<MemoryBudget> {
 public:
  // All holders together may have `limit`; a holder may have `alone` while no other holder has anything.
  explicit MemoryBudget(std::uint64_t limit, std::uint64_t alone = std::numeric_limits<std::uint64_t>::max())
      : limit_(limit), alone_(alone) {}

  // Takes more for a holder that has `own` already. Returns false if that is too much.
  [[nodiscard]] bool take(std::uint64_t bytes, std::uint64_t own) {
    const std::uint64_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
    const std::uint64_t most = before == own ? alone_ : limit_;
    if (bytes <= most - std::min(before, most)) return true;
    give(bytes);
    return false;
  }
  void give(std::uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t limit() const { return limit_; }

 private:
  const std::uint64_t limit_;
  const std::uint64_t alone_;
  std::atomic<std::uint64_t> used_{0};
};

class MemoryShare {
 public:
  // A holder of no more than this is served however much the others hold.
  static constexpr std::uint64_t kFree = 65536;

  MemoryShare() = default;  // without limit
  // There is no limit if the budget is null. A share of up to `free` bytes is not counted.
  explicit MemoryShare(MemoryBudget* budget, std::uint64_t free = kFree) : budget_(budget), free_(free) {}
  ~MemoryShare() { clear(); }
  MemoryShare(MemoryShare&& other) noexcept { *this = std::move(other); }
  MemoryShare& operator=(MemoryShare&& other) noexcept {
    if (this == &other) return *this;
    clear();
    budget_ = other.budget_;
    kept_ = std::move(other.kept_);
    free_ = other.free_;
    seen_ = std::exchange(other.seen_, 0);
    held_ = std::exchange(other.held_, 0);
    return *this;
  }
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  [[nodiscard]] bool add(std::uint64_t bytes) {
    if (budget_ == nullptr) return true;
    const std::uint64_t all = seen_ + bytes;
    if (all > free_) {
      if (!budget_->take(all - held_, held_)) return false;
      if (held_ == 0) kept_ = budget_->weak_from_this().lock();
      held_ = all;
    }
    seen_ = all;
    return true;
  }
  // Gives back all but so many bytes.
  void keep(std::uint64_t bytes) {
    seen_ = std::min(seen_, bytes);
    const std::uint64_t counted = seen_ > free_ ? seen_ : 0;
    if (held_ <= counted) return;
    budget_->give(held_ - counted);
    held_ = counted;
    if (held_ == 0) kept_.reset();
  }
  void clear() { keep(0); }
  [[nodiscard]] std::uint64_t held() const { return held_; }  // counted in the budget
  [[nodiscard]] const MemoryBudget* budget() const { return budget_; }

 private:
  MemoryBudget* budget_ = nullptr;
  std::shared_ptr<MemoryBudget> kept_;
  std::uint64_t free_ = 0;
  std::uint64_t seen_ = 0;
  std::uint64_t held_ = 0;
};

}  // namespace servoir
