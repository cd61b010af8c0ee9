// A worker with two lanes dies with what both of them run. What ran on one of them is not blamed for the other.

#include <algorithm>
#include <chrono>

#include "servable_fixture.h"

namespace servoir {
namespace {

class ApartTest : public SchedulerTest {
 protected:
  // The two lanes of a worker: for the function f of method "m", and for the model g of method "n".
  struct Worker {
    FakeLane functions;
    FakeLane models;
    AttachmentId function_lane = 0;
    AttachmentId model_lane = 0;
  };

  void SetUp() override {
    virtual_now = Clock::now();
    id_ =
        publish({function_callee("f", 1, 1, 2), model_callee("g", {kDynamic}, 1)}, {chain("m", {0}), chain("n", {1})});
    die(*start_worker());  // from now on requests wait for a worker
  }
  std::unique_ptr<Worker> start_worker(bool functions = true) {
    auto worker = std::make_unique<Worker>();
    const std::string name = "worker " + std::to_string(++started_);
    if (functions) worker->function_lane = attach(id_, &worker->functions, {0}, name);
    worker->model_lane = attach(id_, &worker->models, {1}, name);
    scheduler->pump();
    return worker;
  }
  void die(const Worker& worker, bool by_itself = true) {
    scheduler->detach(worker.function_lane, "killed by signal 11", by_itself);
    scheduler->detach(worker.model_lane, "killed by signal 11", by_itself);
    scheduler->pump();
  }
  std::shared_ptr<Request> ask(const std::string& method, float value) {
    auto asked = submit(method, {floats({2}, value)});
    scheduler->pump();
    return asked;
  }
  void finish_first(FakeLane* lane, AttachmentId id) {
    const RunTask task = lane->tasks.front();
    lane->tasks.pop_front();
    ASSERT_TRUE(finish(id, task, 10).ok());
    scheduler->pump();
  }
  // The function that runs calls the model with a value of one element.
  void call(Worker* worker, float value) {
    const auto& head = worker->functions.tasks.front().head;
    std::memcpy(arena->base() + head.room_offset, &value, sizeof(value));
    OutputPiece piece;
    piece.offset = head.room_offset;
    piece.row_bytes = sizeof(value);
    piece.rows = 1;
    piece.dtype = DataType::kFloat32;
    piece.row_shape = {1};
    CallRequest call;
    call.task = head.task;
    call.call = ++calls_;
    call.callee = 1;
    call.rows = 1;
    call.inputs = {{piece}};
    MessageWriter writer;
    write_call(call, &writer);
    ASSERT_TRUE(scheduler->on_record(worker->function_lane, writer.bytes()).ok());
    scheduler->pump();
  }

  ServableId id_ = 0;
  int started_ = 0;
  std::uint64_t calls_ = 0;
};

TEST_F(ApartTest, AnInstanceIsNotBlamedForWhatKillsItsWorkerOnTheOtherLane) {
  const auto innocent = ask("n", 1);
  std::vector<std::shared_ptr<Request>> killers;
  for (int death = 0; death < 20 && answered.size() < killers.size() + 1; ++death) {
    if (death < 8) killers.push_back(ask("m", static_cast<float>(100 + death)));
    const std::unique_ptr<Worker> worker = start_worker();
    while (worker->functions.tasks.empty() && !worker->models.tasks.empty()) {
      finish_first(&worker->models, worker->model_lane);
    }
    if (!worker->functions.tasks.empty()) die(*worker);
  }
  EXPECT_EQ(answered.size(), killers.size() + 1);
  EXPECT_TRUE(innocent->errors[0].ok()) << innocent->errors[0].message();
  for (const auto& killer : killers) EXPECT_EQ(killer->errors[0].code(), Code::kUnavailable);
}

TEST_F(ApartTest, NothingIsPostedToADeadWorkersOtherLane) {
  const std::unique_ptr<Worker> worker = start_worker();
  ask("m", 100);
  scheduler->detach(worker->function_lane, "killed by signal 11", true);
  const auto innocent = ask("n", 1);
  EXPECT_TRUE(worker->models.tasks.empty());
  scheduler->detach(worker->model_lane, "killed by signal 11", true);
  const std::unique_ptr<Worker> next = start_worker();
  finish_first(&next->models, next->model_lane);
  EXPECT_EQ(output(*innocent, 0), 11);
}

TEST_F(ApartTest, NothingBeginsOnTheOtherLaneWhileASuspectWaitsOrRuns) {
  const auto suspect = ask("n", 1);
  die(*start_worker(), false);
  const std::unique_ptr<Worker> worker = start_worker();
  ask("m", 2);
  ASSERT_EQ(worker->models.tasks.size(), 1U);
  EXPECT_TRUE(worker->functions.tasks.empty());
  finish_first(&worker->models, worker->model_lane);
  EXPECT_EQ(worker->functions.tasks.size(), 1U);
  EXPECT_EQ(output(*suspect, 0), 11);
}

TEST_F(ApartTest, ASuspectWaitsForTheEndOfWhatTheOtherLaneRunsButNotForLong) {
  for (const bool hangs : {false, true}) {
    const std::unique_ptr<Worker> first = start_worker(false);
    const auto suspect = ask("n", 1);
    ASSERT_EQ(first->models.tasks.size(), 1U);
    const std::unique_ptr<Worker> busy = start_worker();
    ask("m", 2);
    ask("m", 3);
    ASSERT_EQ(busy->functions.tasks.size(), 1U);
    die(*first, false);
    EXPECT_TRUE(busy->models.tasks.empty());
    if (hangs) {
      virtual_now += std::chrono::seconds(1);
      tick(virtual_now);
    } else {
      finish_first(&busy->functions, busy->function_lane);
      EXPECT_TRUE(busy->functions.tasks.empty()) << "the next begins after the suspect";
    }
    ASSERT_EQ(busy->models.tasks.size(), 1U);
    finish_first(&busy->models, busy->model_lane);
    EXPECT_EQ(busy->functions.tasks.size(), 1U);
    EXPECT_EQ(output(*suspect, 0), 11);
    scheduler->withdraw(id_, "");
    SetUp();
  }
}

TEST_F(ApartTest, AFunctionIsBlamedForItsOwnCall) {
  const std::unique_ptr<Worker> worker = start_worker();
  const auto caller = ask("m", 1);
  call(worker.get(), 100);
  ASSERT_EQ(worker->models.tasks.size(), 1U);
  die(*worker);
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_NE(caller->errors[0].message().find("and nothing else"), std::string_view::npos)
      << caller->errors[0].message();
}

TEST_F(ApartTest, AFunctionIsNotBlamedForACallOfAnother) {
  const std::unique_ptr<Worker> worker = start_worker();
  const auto caller = ask("m", 1);
  const auto killer = ask("n", 100);
  ASSERT_EQ(worker->models.tasks.size(), 1U);
  call(worker.get(), 2);
  die(*worker);
  ASSERT_EQ(answered.size(), 1U) << "the caller only waited";
  EXPECT_EQ(killer->errors[0].code(), Code::kUnavailable);
  const std::unique_ptr<Worker> next = start_worker();
  finish_first(&next->functions, next->function_lane);
  EXPECT_EQ(output(*caller, 0), 11);
}

TEST_F(ApartTest, ASuspectRunsWhileTheOtherLaneWaitsForItsOwnCall) {
  const std::unique_ptr<Worker> first = start_worker(false);
  const auto suspect = ask("n", 1);
  ASSERT_EQ(first->models.tasks.size(), 1U);
  const std::unique_ptr<Worker> second = start_worker();
  const auto caller = ask("m", 2);
  call(second.get(), 3);
  ASSERT_EQ(second->models.tasks.size(), 1U);
  finish_first(&second->models, second->model_lane);
  ask("n", 4);
  call(second.get(), 5);
  die(*first, false);
  while (!second->models.tasks.empty()) finish_first(&second->models, second->model_lane);
  EXPECT_EQ(output(*suspect, 0), 11);
  EXPECT_EQ(second->functions.called.size(), 2U);
  finish_first(&second->functions, second->function_lane);
  EXPECT_EQ(output(*caller, 0), 12);
}

}  // namespace
}  // namespace servoir
