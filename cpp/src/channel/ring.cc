#include "channel/ring.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <utility>

namespace servoir {

struct RingHeader {
  alignas(64) std::atomic<std::uint64_t> head;
  alignas(64) std::atomic<std::uint64_t> tail;
  alignas(64) std::atomic<std::uint32_t> sleeping;
  std::uint32_t capacity;
};

namespace {

static_assert(sizeof(RingHeader) == 192);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

constexpr std::uint32_t kWrap = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kRecordHeader = 8;
// From this position on a record goes to the start of the data if there is room. So only the pages before it are
// touched as long as little waits.
constexpr std::uint64_t kShallow = 64U << 10U;

RingHeader* header_of(std::byte* memory) { return std::launder(reinterpret_cast<RingHeader*>(memory)); }

// How many bytes a record of this payload takes in the ring.
std::uint64_t stride(std::uint64_t payload) { return kRecordHeader + ((payload + 7) & ~std::uint64_t{7}); }

// The length word lies in memory that the other end may change at any time, so it is read or written by a single
// access.
std::atomic_ref<std::uint32_t> length_at(std::byte* place) {
  return std::atomic_ref<std::uint32_t>(*std::launder(reinterpret_cast<std::uint32_t*>(place)));
}

// The futex is not of the private kind, because the two ends are in different processes.
long futex(std::atomic<std::uint32_t>* word, int operation, std::uint32_t value, const timespec* timeout) {
  return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(word), operation, value, timeout, nullptr, 0);
}

}  // namespace

std::uint64_t ring_bytes(std::uint32_t capacity) { return sizeof(RingHeader) + std::uint64_t{capacity}; }

void ring_format(std::byte* memory, std::uint32_t capacity) {
  auto* header = new (memory) RingHeader;
  header->head.store(0, std::memory_order_relaxed);
  header->tail.store(0, std::memory_order_relaxed);
  header->sleeping.store(0, std::memory_order_relaxed);
  header->capacity = capacity;
}

RingProducer::RingProducer(std::byte* memory, std::uint32_t capacity)
    : header_(header_of(memory)), data_(memory + sizeof(RingHeader)), capacity_(capacity) {
  tail_ = header_->tail.load(std::memory_order_relaxed);
  head_seen_ = header_->head.load(std::memory_order_acquire);
}

// A record that does not fit before the end of the data goes to the start of the data. It then skips fewer bytes than
// it has itself, so half of the capacity fits at any position of an empty ring.
std::uint32_t RingProducer::max_record() const { return capacity_ / 2 - static_cast<std::uint32_t>(kRecordHeader); }

std::span<std::byte> RingProducer::prepare(std::uint32_t bytes) {
  if (bytes > max_record()) return {};
  const std::uint64_t need = stride(bytes);
  const std::uint64_t position = tail_ & (capacity_ - 1);
  const std::uint64_t to_end = capacity_ - position;
  std::uint64_t skip = need <= to_end ? 0 : to_end;
  // If the head is ahead of the tail, or more than a ring before it, the difference exceeds the capacity, and there is
  // never any room.
  auto has_room = [&] {
    const std::uint64_t used = tail_ - head_seen_;
    return used <= capacity_ && skip + need <= capacity_ - used;
  };
  if (position >= kShallow) {
    head_seen_ = header_->head.load(std::memory_order_acquire);
    const std::uint64_t shallow = std::exchange(skip, to_end);
    if (!has_room()) skip = shallow;
  }
  if (!has_room()) {
    head_seen_ = header_->head.load(std::memory_order_acquire);
    if (!has_room()) return {};
  }
  if (skip > 0) length_at(data_ + position).store(kWrap, std::memory_order_relaxed);
  prepared_ = tail_ + skip;
  prepared_bytes_ = bytes;
  return {data_ + (prepared_ & (capacity_ - 1)) + kRecordHeader, bytes};
}

bool RingProducer::commit(std::uint32_t bytes) {
  assert(bytes <= prepared_bytes_);
  length_at(data_ + (prepared_ & (capacity_ - 1))).store(bytes, std::memory_order_relaxed);
  tail_ = prepared_ + stride(bytes);
  // This store and the load below, and the store and load of prepare_sleep(), are sequentially consistent. So at least
  // one of the two ends sees what the other has written, and no wake-up is lost.
  header_->tail.store(tail_, std::memory_order_seq_cst);
  return header_->sleeping.load(std::memory_order_seq_cst) != 0 &&
         header_->sleeping.exchange(0, std::memory_order_seq_cst) != 0;
}

RingConsumer::RingConsumer(std::byte* memory, std::uint32_t capacity)
    : header_(header_of(memory)), data_(memory + sizeof(RingHeader)), capacity_(capacity) {
  head_ = header_->head.load(std::memory_order_relaxed);
  tail_seen_ = head_;
}

Status RingConsumer::broken(std::string what) {
  broken_ = true;
  return Status::Internal("the ring's other end has written " + std::move(what) + " at position " +
                          std::to_string(head_) + "; the ring cannot be used any more");
}

Result<std::optional<std::span<const std::byte>>> RingConsumer::peek() {
  if (broken_) return broken("nonsense before this");
  if (head_ == tail_seen_) {
    const std::uint64_t tail = header_->tail.load(std::memory_order_acquire);
    if (tail == head_) return std::optional<std::span<const std::byte>>();
    if (tail - head_ > capacity_ || tail % 8 != 0) {
      return broken("the tail " + std::to_string(tail) + ", outside a ring of " + std::to_string(capacity_) + " bytes");
    }
    tail_seen_ = tail;
  }
  std::uint64_t position = head_ & (capacity_ - 1);
  std::uint32_t length = length_at(data_ + position).load(std::memory_order_relaxed);
  if (length == kWrap) {
    const std::uint64_t skip = capacity_ - position;
    // At position 0 there is nothing to skip to, and a wrap mark is always published together with the record after it.
    if (position == 0 || tail_seen_ - head_ <= skip) return broken("a wrap mark without a record after it");
    head_ += skip;
    position = 0;
    length = length_at(data_).load(std::memory_order_relaxed);
  }
  const std::uint64_t published = tail_seen_ - head_;
  const std::uint64_t to_end = capacity_ - position;
  if (stride(length) > published || stride(length) > to_end) {
    return broken("a record of " + std::to_string(length) + " bytes where " + std::to_string(published) +
                  " are published and " + std::to_string(to_end) + " left");
  }
  current_ = length;
  return std::optional(std::span<const std::byte>(data_ + position + kRecordHeader, length));
}

void RingConsumer::release() {
  head_ += stride(current_);
  header_->head.store(head_, std::memory_order_release);
}

bool RingConsumer::ready() const { return header_->tail.load(std::memory_order_acquire) != head_; }

bool RingConsumer::prepare_sleep() {
  header_->sleeping.store(1, std::memory_order_seq_cst);
  if (header_->tail.load(std::memory_order_seq_cst) == head_) return true;
  cancel_sleep();
  return false;
}

void RingConsumer::cancel_sleep() { header_->sleeping.store(0, std::memory_order_relaxed); }

bool RingConsumer::sleep_pending() const { return header_->sleeping.load(std::memory_order_acquire) != 0; }

void RingConsumer::sleep(int timeout_ms) {
  timespec timeout{};
  if (timeout_ms >= 0) {
    timeout.tv_sec = timeout_ms / 1000;
    timeout.tv_nsec = static_cast<long>(timeout_ms % 1000) * 1'000'000;
  }
  futex(&header_->sleeping, FUTEX_WAIT, 1, timeout_ms < 0 ? nullptr : &timeout);
  cancel_sleep();
}

void ring_wake(std::byte* memory) {
  RingHeader* header = header_of(memory);
  // A consumer that is about to sleep then finds the word changed and does not sleep.
  header->sleeping.store(0, std::memory_order_seq_cst);
  futex(&header->sleeping, FUTEX_WAKE, 1, nullptr);
}

}  // namespace servoir
