// What it costs to find a place for a tensor.

#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "memory/arena.h"
#include "memory/slab.h"

namespace servoir {
namespace {

constexpr std::uint64_t kLimit = 1ULL << 30U;

// The same block again and again: the shortest way.
void Arena_AllocateFree(benchmark::State& state) {
  const std::unique_ptr<Arena> arena = std::move(Arena::create(kLimit)).value();
  const auto bytes = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(arena->allocate(bytes)->get());
}
BENCHMARK(Arena_AllocateFree)->Arg(64)->Arg(4096)->Arg(200'000)->Arg(2'410'000);

// Replaces one of many living blocks of different sizes.
void Arena_Mixed(benchmark::State& state) {
  const std::unique_ptr<Arena> arena = std::move(Arena::create(kLimit)).value();
  std::vector<BlockRef> live(4096);
  std::mt19937 random(1);
  std::vector<std::pair<std::uint32_t, std::uint64_t>> plan(1U << 16U);
  for (auto& [slot, bytes] : plan) {
    slot = static_cast<std::uint32_t>(random() % live.size());
    bytes = random() % (1U << (8 + random() % 10));
  }
  std::size_t step = 0;
  for (auto _ : state) {
    const auto& [slot, bytes] = plan[step++ % plan.size()];
    live[slot] = BlockRef();
    live[slot] = *arena->allocate(bytes);
  }
}
BENCHMARK(Arena_Mixed);

void Arena_Threads(benchmark::State& state) {
  static const std::unique_ptr<Arena> arena = std::move(Arena::create(kLimit)).value();
  for (auto _ : state) benchmark::DoNotOptimize(arena->allocate(4096)->get());
}
BENCHMARK(Arena_Threads)->Threads(2)->UseRealTime();

// A row for each of 64 tensors of a batch, and its copy.
void Slab_ReserveAndCopy(benchmark::State& state) {
  const std::unique_ptr<Arena> arena = std::move(Arena::create(kLimit)).value();
  SlabPool pool(arena.get());
  const auto bytes = static_cast<std::uint64_t>(state.range(0));
  const std::vector<std::byte> row(bytes, std::byte{1});
  std::vector<BlockRef> batch(64);
  std::size_t next = 0;
  for (auto _ : state) {
    Place place = *pool.reserve({1, bytes}, 1, 64);
    std::memcpy(place.data, row.data(), bytes);
    batch[next++ % batch.size()] = std::move(place.block);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
}
BENCHMARK(Slab_ReserveAndCopy)->Arg(64)->Arg(3136)->Arg(602'112);

// Rows for one stage that all I/O threads feed (0), or for a stage of each (1).
void Slab_Threads(benchmark::State& state) {
  static const std::unique_ptr<Arena> arena = std::move(Arena::create(kLimit)).value();
  static SlabPool pool(arena.get());
  const std::uint64_t consumer = state.range(0) == 0 ? 1 : 2 + static_cast<std::uint64_t>(state.thread_index());
  std::vector<BlockRef> batch(64);
  std::size_t next = 0;
  for (auto _ : state) batch[next++ % batch.size()] = std::move(pool.reserve({consumer, 64}, 1, 64)->block);
}
BENCHMARK(Slab_Threads)->Arg(0)->Arg(1)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace servoir
