// Ring: a single-producer single-consumer queue of records in shared memory.
//
//   ring    := header data
//   header  := head (consumer's position, u64) | tail (producer's position, u64) | sleeping (u32, a futex word) |
//   capacity (u32)
//              each on a cache line of its own
//   data    := record*            capacity bytes, a power of two; positions are taken modulo capacity
//   record  := length (u32, bytes of payload; kWrap = the rest up to the end is unused) | reserved (u32) | payload,
//   padded to 8
//
// The producer goes back to the start of the data early if it can. So a ring that never holds much takes little memory,
// whatever its capacity.
//
// A record never crosses the end of the data. A single thread produces, and a single thread of another process
// consumes. The two ends do not trust each other: the consumer checks each length against the capacity and against what
// the producer has published.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/status.h"

namespace servoir {

struct RingHeader;  // in shared memory

// Bytes of shared memory that a ring of this capacity takes. `capacity` is a power of two, 4 KiB to 1 GiB.
[[nodiscard]] std::uint64_t ring_bytes(std::uint32_t capacity);
// Makes an empty ring in zeroed memory of ring_bytes(capacity) bytes, which is aligned to 64 bytes.
void ring_format(std::byte* memory, std::uint32_t capacity);

class RingProducer {
 public:
  // `memory` holds a ring formatted with this capacity, and outlives this object.
  RingProducer(std::byte* memory, std::uint32_t capacity);

  // Space for a record of `bytes` payload bytes, aligned to 8 bytes. The span is empty if there is no room now.
  [[nodiscard]] std::span<std::byte> prepare(std::uint32_t bytes);
  // Publishes the record that was prepared last, cut to `bytes`. Returns whether the consumer sleeps and has to be
  // woken.
  bool commit(std::uint32_t bytes);
  // The largest payload that an empty ring takes at any position: just under half of the capacity.
  [[nodiscard]] std::uint32_t max_record() const;

 private:
  RingHeader* header_;
  std::byte* data_;
  std::uint32_t capacity_;
  std::uint64_t tail_ = 0;
  std::uint64_t head_seen_ = 0;
  std::uint64_t prepared_ = 0;  // position of the prepared record
  std::uint32_t prepared_bytes_ = 0;
};

class RingConsumer {
 public:
  RingConsumer(std::byte* memory, std::uint32_t capacity);

  // The oldest record, or nothing. Internal if the producer has written nonsense; the ring can then not be used any
  // more. The bytes stay valid until release().
  [[nodiscard]] Result<std::optional<std::span<const std::byte>>> peek();
  // Gives back the record that peek() has returned.
  void release();

  // Whether there is something for peek(); cheap enough for a busy wait.
  [[nodiscard]] bool ready() const;

  // Says that this end is about to sleep. Returns false if a record has come meanwhile; the caller must not sleep then.
  bool prepare_sleep();
  void cancel_sleep();
  // Whether prepare_sleep() was called and the producer has not yet seen it.
  [[nodiscard]] bool sleep_pending() const;
  // Sleeps on the futex until a record comes, ring_wake() is called, or `timeout_ms` have passed; a negative number is
  // no limit. Only for the worker's end.
  void sleep(int timeout_ms);

 private:
  Status broken(std::string what);

  RingHeader* header_;
  std::byte* data_;
  std::uint32_t capacity_;
  std::uint64_t head_ = 0;
  std::uint64_t tail_seen_ = 0;
  std::uint32_t current_ = 0;
  bool broken_ = false;
};

// Wakes a consumer that sleeps in RingConsumer::sleep(). Any process that maps the ring may call it.
void ring_wake(std::byte* memory);

}  // namespace servoir
