// What it costs to hand a record from one thread to another.

#include <benchmark/benchmark.h>
#include <poll.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "channel/lane.h"
#include "channel/ring.h"

namespace servoir {
namespace {

constexpr std::uint32_t kCapacity = 1U << 20U;

class Memory {
 public:
  Memory() : bytes_(new(std::align_val_t(64)) std::byte[ring_bytes(kCapacity)]()) { ring_format(get(), kCapacity); }
  [[nodiscard]] std::byte* get() const { return bytes_.get(); }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t(64)); }
  };
  std::unique_ptr<std::byte[], Free> bytes_;
};

bool send(RingProducer* producer, std::uint32_t bytes) {
  const std::span<std::byte> place = producer->prepare(bytes);
  std::memset(place.data(), 1, place.size());
  return producer->commit(bytes);
}

// In and out again on one thread: the work without the distance.
void Ring_SameThread(benchmark::State& state) {
  const Memory memory;
  RingProducer producer(memory.get(), kCapacity);
  RingConsumer consumer(memory.get(), kCapacity);
  const auto bytes = static_cast<std::uint32_t>(state.range(0));
  for (auto _ : state) {
    send(&producer, bytes);
    benchmark::DoNotOptimize((*consumer.peek())->data());
    consumer.release();
  }
}
BENCHMARK(Ring_SameThread)->Arg(64)->Arg(1024);

void next(RingConsumer* consumer, bool sleeps) {
  while (!(*consumer->peek()).has_value()) {
    if (sleeps && consumer->prepare_sleep()) consumer->sleep(-1);
  }
}

// There and back between two threads; the time is that of two hops. Both look all the time (needs two free cores), or
// both sleep on the futex when there is nothing.
void Ring_PingPong(benchmark::State& state) {
  const bool sleeps = state.range(0) != 0;
  const Memory there;
  const Memory back;
  std::thread echo([&] {
    RingConsumer consumer(there.get(), kCapacity);
    RingProducer producer(back.get(), kCapacity);
    while (true) {
      next(&consumer, sleeps);
      const bool last = (*consumer.peek())->size() == 0;
      consumer.release();
      if (send(&producer, 64)) ring_wake(back.get());
      if (last) return;
    }
  });
  RingProducer producer(there.get(), kCapacity);
  RingConsumer consumer(back.get(), kCapacity);
  auto round = [&](std::uint32_t bytes) {
    if (send(&producer, bytes)) ring_wake(there.get());
    next(&consumer, sleeps);
    consumer.release();
  };
  for (auto _ : state) round(64);
  round(0);
  echo.join();
}
BENCHMARK(Ring_PingPong)->ArgName("sleeps")->Arg(0)->Arg(1)->UseRealTime();

// A task to a worker and its result back as the server sees them: futex there, eventfd back.
void Lane_RoundTrip(benchmark::State& state) {
  const std::unique_ptr<ServerLane> server = std::move(ServerLane::create()).value();
  const std::unique_ptr<WorkerLane> worker =
      std::move(WorkerLane::attach(UniqueFd(dup(server->memory_fd())), UniqueFd(dup(server->event_fd())))).value();
  std::thread echo([&] {
    const std::vector<std::byte> done(160);
    while ((*worker->wait(-1)).has_value()) {
      worker->release();
      if (!worker->post(done).ok()) return;
    }
  });
  const std::vector<std::byte> task(160);
  for (auto _ : state) {
    server->post(task);
    while (!(*server->peek()).has_value()) {
      pollfd entry{server->event_fd(), POLLIN, 0};
      if (server->arm()) poll(&entry, 1, -1);
    }
    server->release();
  }
  worker->stop();
  echo.join();
}
BENCHMARK(Lane_RoundTrip)->UseRealTime();

}  // namespace
}  // namespace servoir
