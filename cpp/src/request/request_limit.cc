#include "request/request_limit.h"

#include <algorithm>
#include <string>

#include "base/setting_names.h"
#include "base/text.h"

namespace servoir {
namespace {

constexpr std::uint64_t kMaxPortion = 32;
// All versions together keep no more than a part of the limit of 2 / kPortions unused.
constexpr std::uint64_t kPortions = 64;

}  // namespace

std::uint64_t RequestLimit::share() const {
  const std::uint64_t all = limit();
  return servables_.load(std::memory_order_relaxed) <= 1 ? all : (all + 1) / 2;
}

std::uint64_t RequestLimit::memory_share() const {
  const std::uint64_t all = memory_.load(std::memory_order_relaxed);
  return servables_.load(std::memory_order_relaxed) <= 1 ? all : all / 2;
}

std::uint64_t RequestLimit::portion() const {
  const std::uint64_t servables = std::max<std::uint64_t>(servables_.load(std::memory_order_relaxed), 1);
  return std::clamp<std::uint64_t>(limit() / kPortions / servables, 1, kMaxPortion);
}

std::uint64_t RequestLimit::take(std::uint64_t wanted) {
  const std::uint64_t most = limit();
  const std::uint64_t before = taken_.fetch_add(wanted, std::memory_order_relaxed);
  const std::uint64_t granted = before >= most ? 0 : std::min(wanted, most - before);
  if (granted < wanted) give_back(wanted - granted);
  return granted;
}

Status Admission::take_memory(std::string_view servable, std::uint64_t bytes) {
  const std::uint64_t before = waiting_->bytes.fetch_add(bytes, std::memory_order_relaxed);
  const std::uint64_t share = limit_->memory_share();
  // A request that is the only one may have all that its servable's clients find.
  if (before == 0 || bytes <= share - std::min(before, share)) return Status::Ok();
  waiting_->bytes.fetch_sub(bytes, std::memory_order_relaxed);
  return Status::ResourceExhausted(
      "too much memory for servable " + quoted(servable) + ": its requests that wait for their answer have " +
      std::to_string(before) + " bytes, and this one has " + std::to_string(bytes) + "; the most is " +
      std::to_string(share) +
      " for one of several servables: half of the arena's limit (SERVOIR_ARENA_LIMIT_MB); try again later");
}

Status Admission::enter(std::string_view servable, std::uint64_t bytes) {
  if (bytes > 0) SERVOIR_RETURN_IF_ERROR(take_memory(servable, bytes));
  const std::uint64_t share = limit_->share();
  const bool within_share = waiting_->count.fetch_add(1, std::memory_order_relaxed) < share;
  if (within_share && spare_ == 0) spare_ = limit_->take(limit_->portion());
  if (within_share && spare_ > 0) {
    --spare_;
    return Status::Ok();
  }
  waiting_->count.fetch_sub(1, std::memory_order_relaxed);
  if (bytes > 0) waiting_->bytes.fetch_sub(bytes, std::memory_order_relaxed);
  const std::uint64_t limit = limit_->limit();
  if (within_share || share == limit) {
    return Status::ResourceExhausted("too many requests: " + std::to_string(limit) +
                                     " are waiting for their answer, which is the limit (" + kRequestLimitName +
                                     "); try again later");
  }
  return Status::ResourceExhausted("too many requests for servable " + quoted(servable) + ": " + std::to_string(share) +
                                   " are waiting for their answer, which is the most for one of several servables: "
                                   "half of the limit of " +
                                   std::to_string(limit) + " (" + kRequestLimitName + "); try again later");
}

void Admission::leave(std::uint64_t bytes) {
  waiting_->count.fetch_sub(1, std::memory_order_relaxed);
  if (bytes > 0) waiting_->bytes.fetch_sub(bytes, std::memory_order_relaxed);
  ++spare_;
  const std::uint64_t portion = closed_ ? 0 : limit_->portion();
  if (spare_ <= 2 * portion) return;
  limit_->give_back(spare_ - portion);
  spare_ = portion;
}

void Admission::close() {
  closed_ = true;
  limit_->give_back(std::exchange(spare_, 0));
}

}  // namespace servoir
