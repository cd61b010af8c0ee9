// What a request costs in the scheduler, without sockets and workers: a lane here only keeps what is posted to it.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "channel/message.h"
#include "memory/arena.h"
#include "memory/slab.h"
#include "schedule/scheduler.h"

namespace servoir {
namespace {

constexpr std::uint32_t kBatch = 16;

class KeepingLane final : public LanePort {
 public:
  bool post(std::span<const std::byte> record) override {
    held.emplace_back();
    return read_run(record, &held.back()).ok();
  }
  [[nodiscard]] std::uint32_t max_record() const override { return 1U << 20U; }

  std::vector<RunTask> held;
};

std::string numbered(std::int64_t number) {
  std::string name("s");
  name += std::to_string(number);
  return name;
}

// A servable of one function, with a worker.
struct Served {
  std::string name;
  KeepingLane lane;
  AttachmentId attachment = 0;
  std::uint64_t consumer = 0;
};

struct World {
  World() : arena(Arena::create(1U << 30U).value()), slabs(arena.get()), scheduler(&slabs, &figures, {}) {}
  ~World() {
    for (auto& one : served) one->lane.held.clear();
  }

  Served* serve(const std::string& name, std::uint32_t max_batch = kBatch) {
    ServableSpec spec;
    spec.name = name;
    CalleeSpec callee;
    callee.name = "f";
    callee.inputs = callee.outputs = 1;
    callee.max_batch = max_batch;
    spec.callees = {callee};
    MethodSpec method;
    method.name = "m";
    method.inputs = {"x"};
    method.stages = {{0, {0}, 1, 1, ""}};
    method.output_names = {"y"};
    method.outputs = {1};
    method.values = 2;
    spec.methods = {method};
    auto made = std::make_unique<Served>();
    made->name = name;
    const ServableId id = scheduler.publish(std::move(spec)).value();
    made->attachment = scheduler.attach(id, &made->lane, std::vector<std::uint32_t>{0}, "worker").value();
    made->consumer = slab_consumer(id, 0, 0);
    served.push_back(std::move(made));
    return served.back().get();
  }

  std::shared_ptr<Request> request(const Served& of, std::uint32_t instances = 1) {
    auto made = make_request(scheduler.find(of.name, 0, "m").value(), instances);
    const Place place = slabs.reserve({of.consumer, 64}, instances, kBatch).value();
    for (std::uint32_t i = 0; i < instances; ++i) {
      made->at(0, i) = {place.block, place.offset + 64ULL * i, 64, DataType::kFloat32, {16}};
    }
    made->answer = [](const std::shared_ptr<Request>& done, bool /*last*/) { benchmark::DoNotOptimize(done->failure); };
    return made;
  }

  // Answers every task that the lane holds.
  void finish(Served* of) {
    std::vector<RunTask> tasks;
    tasks.swap(of->lane.held);
    for (const RunTask& task : tasks) {
      RowsResult result;
      result.id = task.head.task;
      result.rows = task.head.rows;
      result.run_ns = 1000;
      OutputPiece piece;
      piece.offset = task.head.room_offset;
      piece.row_bytes = 64;
      piece.rows = task.head.rows;
      piece.dtype = DataType::kFloat32;
      piece.row_shape = {16};
      result.outputs = {{piece}};
      MessageWriter writer;
      write_done(result, &writer);
      if (!scheduler.on_record(of->attachment, writer.bytes()).ok()) std::abort();
    }
  }

  std::unique_ptr<Arena> arena;
  SlabPool slabs;
  metrics::Registry figures;
  std::vector<std::unique_ptr<Served>> served;
  Scheduler scheduler;
};

// One batch of requests of one instance, from find() to the answer.
void one_batch(World* world, Served* of, std::uint32_t requests) {
  for (std::uint32_t i = 0; i < requests; ++i) world->scheduler.submit(world->request(*of));
  world->scheduler.pump();
  world->finish(of);
  world->scheduler.pump();
}

std::unique_ptr<World> g_world;

// Every thread has a servable of its own.
void BM_SchedulerRequests(benchmark::State& state) {
  Served* mine = g_world->served[static_cast<std::size_t>(state.thread_index())].get();
  for (auto _ : state) one_batch(g_world.get(), mine, kBatch);
  state.SetItemsProcessed(state.iterations() * kBatch);
}
void make_one_for_each_thread(const benchmark::State& state) {
  g_world = std::make_unique<World>();
  for (int i = 0; i < state.threads(); ++i) g_world->serve(numbered(i));
}
void drop(const benchmark::State& /*state*/) { g_world.reset(); }
BENCHMARK(BM_SchedulerRequests)->Setup(make_one_for_each_thread)->Teardown(drop)->ThreadRange(1, 16)->UseRealTime();

// A batch of one model while so many others are busy, each with a full batch that waits for its worker.
void BM_SchedulerBusyModels(benchmark::State& state) {
  World world;
  world.scheduler.set_max_enqueued_requests(1'000'000);
  Served* mine = world.serve("mine");
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    Served* other = world.serve(numbered(i), 1);
    for (int k = 0; k < 3; ++k) world.scheduler.submit(world.request(*other));
    world.scheduler.pump();
  }
  for (auto _ : state) one_batch(&world, mine, 1);
}
BENCHMARK(BM_SchedulerBusyModels)->Arg(10)->Arg(100)->Arg(500)->Arg(2000);

// How long another request of the same servable waits at most while one of 262144 instances is submitted.
void BM_SchedulerManyInstances(benchmark::State& state) {
  std::vector<double> worst;
  for (auto _ : state) {
    World world;
    Served* mine = world.serve("mine");
    world.scheduler.submit(world.request(*mine));
    world.scheduler.pump();
    const auto many = world.request(*mine, 1U << 18U);
    std::atomic<bool> begun{false};
    std::atomic<bool> over{false};
    double longest = 0;
    std::thread other([&] {
      begun = true;
      while (!over) {
        const auto request = world.request(*mine);
        const auto before = std::chrono::steady_clock::now();
        world.scheduler.submit(request);
        longest = std::max(longest, std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count());
        world.scheduler.cancel(request, Status::Cancelled("enough"));
      }
    });
    while (!begun) std::this_thread::yield();
    world.scheduler.submit(many);
    over = true;
    other.join();
    worst.push_back(longest);
  }
  std::sort(worst.begin(), worst.end());
  state.counters["others_waited_us_median"] = worst[worst.size() / 2] * 1e6;
  state.counters["others_waited_us_least"] = worst.front() * 1e6;
}
BENCHMARK(BM_SchedulerManyInstances)->Iterations(20);

}  // namespace
}  // namespace servoir
