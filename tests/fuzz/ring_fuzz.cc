// Whatever the other end writes into a ring, the consumer gives out records inside of the ring's data or an error, and
// the producer writes inside of it.
//
// The input: tail (u64), head (u64), then the start of the ring's data.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "channel/ring.h"

namespace {

constexpr std::uint32_t kCapacity = 4096;
constexpr std::size_t kHeader = 192;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "ring_fuzz: %s\n", what);
  std::abort();
}

struct alignas(64) Memory {
  std::byte bytes[kHeader + kCapacity];
};

bool inside(const Memory& memory, std::span<const std::byte> place) {
  return place.data() >= memory.bytes + kHeader && place.data() + place.size() <= memory.bytes + sizeof(memory.bytes) &&
         reinterpret_cast<std::uintptr_t>(place.data()) % 8 == 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint64_t tail = 0;
  std::uint64_t head = 0;
  if (size < 16) return 0;
  std::memcpy(&tail, data, 8);
  std::memcpy(&head, data + 8, 8);
  const auto memory = std::make_unique<Memory>();
  servoir::ring_format(memory->bytes, kCapacity);
  servoir::RingConsumer consumer(memory->bytes, kCapacity);
  servoir::RingProducer producer(memory->bytes, kCapacity);
  std::memcpy(memory->bytes + kHeader, data + 16, std::min<std::size_t>(size - 16, kCapacity));

  std::memcpy(memory->bytes + 64, &tail, 8);
  for (std::uint32_t records = 0; records <= kCapacity; ++records) {
    const auto record = consumer.peek();
    if (!record.ok() || !record->has_value()) break;
    require(inside(*memory, **record), "a record outside of the ring");
    require(records < kCapacity / 8, "more records than the ring can hold");
    consumer.release();
  }

  std::memcpy(memory->bytes, &head, 8);
  for (std::uint32_t bytes = 0; bytes < 4096; bytes += 250) {
    const std::span<std::byte> place = producer.prepare(bytes);
    if (place.data() == nullptr) continue;
    require(inside(*memory, place), "a place outside of the ring");
    producer.commit(bytes);
  }
  return 0;
}
