// A simulation of the scheduler in virtual time: random servables, requests, batches, deaths of workers, cancels,
// deadlines and little memory, from a seed. Whatever happens, every request is answered once and right, and nothing is
// left allocated.
//
// SERVOIR_SIMULATION_SEEDS=N runs N seeds; a failure names its seed, which SERVOIR_SIMULATION_FIRST=SEED runs first.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "schedule/callee_queue.h"
#include "servable_fixture.h"

namespace servoir {
namespace {

using std::chrono::microseconds;

// Every instance has a number of its own as its value. Some numbers stand for what goes wrong with it.
constexpr float kDeadly = -1;   // below zero: it ends any worker that runs it
constexpr int kFailsEvery = 9;  // of so many numbers: the worker says that it failed

class Simulation : public SchedulerTest {
 public:
  explicit Simulation(unsigned seed) : SchedulerTest(seed % 5 == 0 ? 3U << 20U : 64U << 20U), random_(seed) {
    virtual_now = Clock::time_point(std::chrono::hours(1));
    deaths_happen_ = seed % 2 == 0;
    delays_happen_ = seed % 3 == 0;
    ends_happen_ = seed % 11 < 7;
    senders_happen_ = seed % 4 < 2;
    priorities_happen_ = seed % 7 < 3;
    for (std::uint32_t s = 0, n = 1 + pick(2); s < n; ++s) make_servable(s);
    for (int i = 0; i < 60; ++i) after(pick(40'000), [this] { arrive(); });
    if (pick(4) == 0) scheduler->set_max_enqueued_requests(10);
  }
  ~Simulation() override { open_.clear(); }
  void TestBody() override {}

  void run() {
    for (int steps = 0; !events_.empty() && !::testing::Test::HasFailure(); ++steps) {
      ASSERT_LT(steps, 100'000) << "it never comes to an end";
      const auto next = events_.begin();
      virtual_now = std::max(virtual_now, next->first);
      const std::function<void()> event = std::move(next->second);
      events_.erase(next);
      event();
      turn();
    }
    for (const auto& [request, known] : open_) ADD_FAILURE() << "a request of " << request->instances << " is lost";
    open_.clear();
    answered.clear();
    for (Servable& servable : servables_) {
      scheduler->withdraw(servable.id, "");
      for (Worker& worker : servable.workers) worker.lanes.clear();
    }
    ended_.clear();
    EXPECT_EQ(arena->usage().blocks, 0U);
  }

 private:
  static constexpr std::uint32_t kSenders = 5;

  struct WorkerLane {
    std::unique_ptr<FakeLane> lane;
    AttachmentId attachment = 0;
    bool busy = false;
  };
  struct Worker {
    std::vector<WorkerLane> lanes;  // none while it is dead
  };
  struct Servable {
    ServableId id = 0;
    std::string name;
    std::vector<CalleeSpec> callees;
    std::vector<std::vector<std::uint32_t>> methods;  // the callee of each stage
    std::vector<Worker> workers;
  };
  struct Known {
    Servable* servable = nullptr;
    std::vector<float> values;
    float stages = 0;
    bool cancelled = false;
    std::uint64_t number = 0;
    std::uint32_t priority = 0;
    std::uint32_t sender = 0;
    std::uint32_t callee = 0;  // of its first stage
    // Batches posted while all of it waited: of its callee, but of younger requests only; of other callees, since one
    // was of its own; of others than its sender, since one had an instance of that; of lower numbers only, since one
    // had an instance of its priority.
    std::size_t overtaken = 0;
    std::size_t without_callee = 0;
    std::size_t without_sender = 0;
    std::size_t without_priority = 0;
  };

  std::uint32_t pick(std::uint32_t below) {
    return std::uniform_int_distribution<std::uint32_t>(0, below - 1)(random_);
  }
  void after(std::uint32_t us, std::function<void()> event) {
    events_.emplace(virtual_now + microseconds(us), std::move(event));
  }

  void make_servable(std::uint32_t number) {
    Servable made;
    made.name = "s" + std::to_string(number);
    for (std::uint32_t c = 0, n = 1 + pick(3); c < n; ++c) {
      CalleeSpec callee = pick(2) == 0 ? function_callee("f" + std::to_string(c), 1, 1, 1 + pick(8))
                                       : model_callee("k" + std::to_string(c), {kDynamic}, 1 + pick(8));
      callee.called_singly = callee.kind == CalleeSpec::Kind::kFunction && pick(2) == 0;
      callee.rerun = pick(8) != 0;
      if (delays_happen_) callee.max_queue_delay = microseconds(pick(3) * 2000);
      made.callees.push_back(callee);
    }
    std::vector<MethodSpec> methods;
    for (std::uint32_t m = 0, n = 1 + pick(3); m < n; ++m) {
      made.methods.emplace_back();
      for (std::uint32_t s = 0, stages = 1 + pick(3); s < stages; ++s) {
        made.methods.back().push_back(pick(static_cast<std::uint32_t>(made.callees.size())));
      }
      methods.push_back(chain("m" + std::to_string(m), made.methods.back()));
    }
    made.id = publish(made.callees, methods, 1, made.name);
    made.workers.resize(1 + pick(2));
    servables_.push_back(std::move(made));
    for (std::size_t w = 0; w < servables_.back().workers.size(); ++w) start_worker(servables_.size() - 1, w);
  }

  void start_worker(std::size_t servable, std::size_t number) {
    Servable& of = servables_[servable];
    Worker& worker = of.workers[number];
    // Those that may die have a lane for models as well, as real ones have.
    std::vector<std::vector<std::uint32_t>> offers(deaths_happen_ ? 2 : 1);
    for (std::uint32_t c = 0; c < of.callees.size(); ++c) {
      offers[deaths_happen_ && of.callees[c].kind == CalleeSpec::Kind::kModel ? 1 : 0].push_back(c);
    }
    const std::string name = "worker " + std::to_string(++started_);
    for (const std::vector<std::uint32_t>& callees : offers) {
      auto lane = std::make_unique<FakeLane>();
      const AttachmentId id = attach(of.id, lane.get(), callees, name);
      worker.lanes.push_back({std::move(lane), id, false});
    }
  }

  void arrive() {
    Servable& of = servables_[pick(static_cast<std::uint32_t>(servables_.size()))];
    const std::uint32_t m = pick(static_cast<std::uint32_t>(of.methods.size()));
    const auto method = scheduler->find(of.name, 0, "m" + std::to_string(m));
    ASSERT_TRUE(method.ok());
    const std::uint32_t instances = 1 + pick(pick(4) == 0 ? 30 : 3);
    auto made = make_request(*method, instances);
    Known known;
    known.servable = &of;
    known.stages = static_cast<float>(of.methods[m].size());
    known.callee = of.methods[m].front();
    known.number = ++requests_;
    if (priorities_happen_) known.priority = pick(8);
    if (senders_happen_) known.sender = pick(kSenders);
    made->info.priority = known.priority;
    made->info.sender = &senders_.at(known.sender);
    for (std::uint32_t i = 0; i < instances; ++i) {
      // Whole numbers as large as these are exact in float32.
      const bool deadly = deaths_happen_ && pick(40) == 0;
      known.values.push_back(deadly ? (pick(2) == 0 ? kDeadly : -static_cast<float>(++values_)) * 1000
                                    : static_cast<float>(++values_) * 8);
      const std::uint64_t elements = 1 + pick(pick(3) == 0 ? 3 : 1);
      const auto place = slabs->reserve({method.value()->homes[0].slab_consumer, elements * 4}, 1,
                                        method.value()->homes[0].batch_rows);
      if (!place.ok()) return;  // the reader refuses the request
      for (std::uint64_t e = 0; e < elements; ++e) std::memcpy(place->data + 4 * e, &known.values.back(), 4);
      made->at(0, i) = {
          place->block, place->offset, elements * 4, DataType::kFloat32, {static_cast<std::int64_t>(elements)}};
    }
    if (ends_happen_ && pick(5) == 0) made->info.deadline = virtual_now + microseconds(pick(30'000));
    made->answer = [this](const std::shared_ptr<Request>& done, bool last) {
      EXPECT_TRUE(last);
      check_answer(*done);
      EXPECT_EQ(open_.erase(done), 1U) << "answered twice";
    };
    open_.emplace(made, known);
    scheduler->submit(made);
    if (ends_happen_ && pick(8) == 0) {
      after(pick(20'000), [this, weak = std::weak_ptr<Request>(made)] {
        const auto request = weak.lock();
        if (request == nullptr || !open_.contains(request)) return;
        open_.at(request).cancelled = true;
        scheduler->cancel(request, Status::Cancelled("gone"));
      });
    }
  }

  [[nodiscard]] bool fails(float value) const { return value > 0 && static_cast<int>(value / 8) % kFailsEvery == 0; }

  void check_answer(const Request& request) {
    const auto found =
        std::find_if(open_.begin(), open_.end(), [&](const auto& o) { return o.first.get() == &request; });
    ASSERT_NE(found, open_.end()) << "answered twice";
    const Known& known = found->second;
    if (!request.failure.ok()) {
      const Code code = request.failure.code();
      const bool timed = request.info.deadline != Clock::time_point::max();
      EXPECT_TRUE(known.cancelled ? code == Code::kCancelled
                                  : (timed && code == Code::kDeadlineExceeded) || code == Code::kResourceExhausted)
          << request.failure.message();
      return;
    }
    for (std::uint32_t i = 0; i < request.instances; ++i) {
      const float value = known.values[i];
      const Status& error = request.errors[i];
      if (error.ok()) {
        EXPECT_TRUE(value > 0 && !fails(value)) << value;
        EXPECT_EQ(output(request, i), value + known.stages);
        continue;
      }
      const bool said = error.message().find("no such number") != std::string_view::npos;
      const bool not_rerun = error.message().find("rerun=False") != std::string_view::npos;
      const bool no_room = error.code() == Code::kResourceExhausted;
      EXPECT_TRUE(value < 0 || (said && fails(value)) || not_rerun || no_room || killed_alone_[value] > 0)
          << value << ": " << error.message();
    }
  }

  // What the event loop does at the end of a turn, and the workers that have got something to do.
  void turn() {
    scheduler->pump();
    tick(virtual_now);
    for (const auto& [id, at] : wakes) {
      if (alarms_.insert(at).second) events_.emplace(at, [] {});
    }
    for (std::size_t s = 0; s < servables_.size(); ++s) {
      count_overtaking(servables_[s]);
      for (std::size_t w = 0; w < servables_[s].workers.size(); ++w) {
        for (WorkerLane& lane : servables_[s].workers[w].lanes) {
          if (lane.busy || lane.lane->tasks.empty()) continue;
          lane.busy = true;
          after(50 + pick(3000), [this, s, w, id = lane.attachment] { finish_task(s, w, id); });
        }
      }
    }
  }

  // Posted batches are looked at once; a request waits if no lane holds a row of it.
  void count_overtaking(Servable& of) {
    if (deaths_happen_ || delays_happen_) return;
    std::set<float> held;
    struct Posted {
      std::uint32_t callee;
      std::vector<const Known*> requests;
    };
    std::vector<Posted> posted;
    for (Worker& worker : of.workers) {
      for (const RunTask& task : worker.lanes.front().lane->tasks) {
        std::vector<const Known*> requests;
        for (const float row : rows_of(task)) {
          held.insert(first_value(row));
          for (const auto& [request, known] : open_) {
            if (std::ranges::count(known.values, first_value(row)) > 0) requests.push_back(&known);
          }
        }
        if (seen_.insert(task.head.task + 1'000'000 * of.id).second && !requests.empty()) {
          posted.push_back({task.head.callee, requests});
        }
      }
    }
    for (auto& [request, known] : open_) {
      if (known.servable != &of) continue;
      const bool waits =
          std::ranges::none_of(known.values, [&](float value) { return held.contains(value); }) && known.stages == 1;
      for (const Posted& batch : posted) {
        const auto any = [&](auto what) { return std::ranges::any_of(batch.requests, what); };
        if (any([&](auto* other) { return other->sender == known.sender; })) known.without_sender = 0;
        if (any([&](auto* other) { return other->priority == known.priority; })) known.without_priority = 0;
        if (batch.callee == known.callee) known.without_callee = 0;
        if (!waits) continue;
        ++known.without_sender;
        if (!any([&](auto* other) { return other->priority >= known.priority; })) ++known.without_priority;
        if (batch.callee != known.callee) {
          ++known.without_callee;
        } else if (!any([&](auto* other) { return other->number <= known.number; })) {
          ++known.overtaken;
        }
      }
      EXPECT_LE(known.without_priority, kMostWithoutPriority) << "request " << known.number;
      // (Requests that have ended keep their places for a while.)
      if (priorities_happen_ || ends_happen_) continue;
      EXPECT_LE(known.without_callee, kMostWithoutCallee) << "request " << known.number;
      EXPECT_LE(known.without_sender, kMostWithoutSender) << "request " << known.number;
      if (!senders_happen_) {
        EXPECT_LE(known.overtaken, kMostOvertaken) << "request " << known.number;
      }
    }
  }
  // Each stage adds one to a multiple of eight.
  static float first_value(float row) { return row - std::fmod(row, 8.0F); }

  void finish_task(std::size_t s, std::size_t w, AttachmentId lane_id) {
    std::vector<WorkerLane>& lanes = servables_[s].workers[w].lanes;
    const auto ran = std::ranges::find(lanes, lane_id, &WorkerLane::attachment);
    if (ran == lanes.end()) return;  // it died of another lane's batch
    const RunTask task = ran->lane->tasks.front();
    const std::vector<float> rows = rows_of(task);
    const bool deadly = std::ranges::any_of(rows, [](float row) { return row < 0; });
    if (deadly || (deaths_happen_ && pick(60) == 0)) {
      const auto busy = std::ranges::count_if(lanes, [](const WorkerLane& lane) { return !lane.lane->tasks.empty(); });
      if (rows.size() == 1 && busy == 1) ++killed_alone_[first_value(rows[0])];
      for (WorkerLane& lane : lanes) {
        scheduler->detach(lane.attachment, "killed", deadly);
        ended_.push_back(std::move(lane.lane));
      }
      lanes.clear();
      after(5000, [this, s, w] { start_worker(s, w); });
      return;
    }
    ran->lane->tasks.pop_front();
    ran->busy = false;
    std::map<std::uint32_t, std::string> failures;
    for (std::uint32_t r = 0; r < rows.size(); ++r) {
      if (fails(first_value(rows[r]))) failures.emplace(r, "no such number");
    }
    EXPECT_TRUE(finish(lane_id, task, 1, failures).ok());
  }

  static constexpr std::size_t kMostOvertaken = 4;
  // The other two callees have a round each, of up to three shapes; and full batches go ahead of what is not full.
  static constexpr std::size_t kMostWithoutCallee = 2 * 3 + 4 + 2 * 2 + 2;
  // In a round, each sender has a turn with each callee, of up to three shapes.
  static constexpr std::size_t kMostWithoutSender = kSenders * 3 * 3 + Rounds::kMostBatches + 2;
  // Then it is as urgent as any, but seven others may be so, with each callee; and the lane is kept busy meanwhile.
  static constexpr std::size_t kMostWithoutPriority = CalleeQueue::kMostPassed + 7 * 3 + 4 + 2 * 2;

  std::mt19937 random_;
  bool deaths_happen_ = false;
  bool delays_happen_ = false;
  bool ends_happen_ = false;  // deadlines and cancels
  bool senders_happen_ = false;
  bool priorities_happen_ = false;
  std::array<int, kSenders> senders_{};  // told apart by their addresses
  std::multimap<Clock::time_point, std::function<void()>> events_;
  std::set<Clock::time_point> alarms_;
  std::vector<Servable> servables_;
  int started_ = 0;  // workers
  std::vector<std::unique_ptr<FakeLane>> ended_;
  std::map<std::shared_ptr<Request>, Known> open_;
  std::map<float, int> killed_alone_;
  std::set<std::uint64_t> seen_;  // tasks
  std::uint64_t requests_ = 0;
  int values_ = 0;
};

unsigned setting(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

TEST(SchedulerSimulation, EveryRequestIsAnsweredOnceAndRight) {
  const unsigned first = setting("SERVOIR_SIMULATION_FIRST", 0);
  const unsigned seeds = setting("SERVOIR_SIMULATION_SEEDS", 500);
  for (unsigned seed = first; seed < first + seeds && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation(seed).run();
  }
}

}  // namespace
}  // namespace servoir
