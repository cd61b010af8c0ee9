// What becomes of the batches with which a worker dies.

#include <algorithm>
#include <chrono>

#include "schedule/scheduler.h"
#include "servable_fixture.h"

namespace servoir {
namespace {

class DeathsTest : public SchedulerTest {
 protected:
  // A servable of one function, and lanes whose workers die of any batch with an instance of a deadly value. A dead
  // worker is replaced at once.
  void serve(int workers, std::uint32_t max_batch = 8) {
    id_ = publish({function_callee("f", 1, 1, max_batch)}, {chain("m", {0})});
    for (int i = 0; i < workers; ++i) start_worker();
  }
  void start_worker() {
    lanes_.push_back(std::make_unique<FakeLane>());
    attachments_.push_back(attach(id_, lanes_.back().get(), {0}, "worker " + std::to_string(++started_)));
  }
  // Runs what the lanes hold until nothing is left.
  void run() {
    scheduler->pump();
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      if (lanes_[i]->tasks.empty()) continue;
      const RunTask task = lanes_[i]->tasks.front();
      lanes_[i]->tasks.pop_front();
      const std::vector<float> rows = rows_of(task);
      batches_.push_back(rows);
      if (std::any_of(rows.begin(), rows.end(), [this](float x) { return std::ranges::count(deadly_, x) > 0; })) {
        known_.push_back(scheduler->detach(attachments_[i], "killed by signal 11", by_itself_));
        lanes_.erase(lanes_.begin() + static_cast<std::ptrdiff_t>(i));
        attachments_.erase(attachments_.begin() + static_cast<std::ptrdiff_t>(i));
        start_worker();
      } else {
        ASSERT_TRUE(finish(attachments_[i], task, 10).ok());
      }
      scheduler->pump();
      i = static_cast<std::size_t>(-1);
    }
  }
  std::vector<TensorRef> numbers(const std::vector<float>& values) {
    std::vector<TensorRef> tensors;
    for (const float value : values) tensors.push_back(floats({2}, value));
    return tensors;
  }

  ServableId id_ = 0;
  bool by_itself_ = false;  // how workers die
  int started_ = 0;
  std::vector<float> deadly_;
  std::vector<std::unique_ptr<FakeLane>> lanes_;
  std::vector<AttachmentId> attachments_;
  std::vector<std::vector<float>> batches_;  // in the order in which they were run
  std::vector<bool> known_;                  // of each death: whether its cause was known
};

TEST_F(DeathsTest, OfEightInstancesOnlyTheDeadlyOneFails) {
  for (const int workers : {1, 2}) {
    deadly_ = {5};
    serve(workers);
    const auto r = submit("m", numbers({1, 2, 3, 4, 5, 6, 7, 8}));
    run();
    ASSERT_EQ(answered.size(), 1U) << workers;
    for (std::uint32_t i = 0; i < 8; ++i) {
      EXPECT_EQ(r->errors[i].ok(), i != 4) << r->errors[i].message();
      if (i != 4) {
        EXPECT_EQ(output(*r, i), static_cast<float>(i) + 11);
      }
    }
    EXPECT_EQ(r->errors[4].code(), Code::kUnavailable);
    EXPECT_NE(r->errors[4].message().find("killed by signal 11"), std::string_view::npos) << r->errors[4].message();
    EXPECT_LE(known_.size(), 4U);
    EXPECT_FALSE(known_.front()) << "a batch that is run for the first time says nothing";
    EXPECT_TRUE(std::all_of(known_.begin() + 1, known_.end(), [](bool known) { return known; }));
    scheduler->withdraw(id_, "");
    answered.clear();
    lanes_.clear();
    attachments_.clear();
    known_.clear();
  }
}

TEST_F(DeathsTest, SuspectsShareNoBatchWithOthers) {
  deadly_ = {2};
  serve(1, 2);
  submit("m", numbers({1}));
  submit("m", numbers({2}));
  scheduler->pump();
  for (const float value : {11.0F, 12.0F, 13.0F}) submit("m", numbers({value}));
  run();
  EXPECT_EQ(answered.size(), 5U);
  ASSERT_GE(batches_.size(), 3U);
  for (const std::vector<float>& batch : batches_) {
    const auto suspects = std::count_if(batch.begin(), batch.end(), [](float x) { return x < 10; });
    EXPECT_TRUE(suspects == 0 || suspects == static_cast<std::ptrdiff_t>(batch.size()));
  }
  EXPECT_EQ(batches_[1], (std::vector<float>{1}));
  EXPECT_EQ(batches_[2], (std::vector<float>{11, 12})) << "what waits takes turns with suspects";
}

// The second batch of the lane had not begun, so the worker's death says nothing about it.
TEST_F(DeathsTest, WhatTheWorkerHadNotBegunIsNoSuspect) {
  serve(1, 4);
  const auto r = submit("m", numbers({1, 2, 3, 4, 5, 6, 7, 8}));
  scheduler->pump();
  ASSERT_EQ(lanes_[0]->tasks.size(), 2U);
  scheduler->detach(attachments_[0], "killed");
  lanes_.clear();
  attachments_.clear();
  start_worker();
  run();
  ASSERT_EQ(answered.size(), 1U);
  for (const Status& error : r->errors) EXPECT_TRUE(error.ok()) << error.message();
  EXPECT_EQ(batches_, (std::vector<std::vector<float>>{{1, 2}, {5, 6, 7, 8}, {3, 4}}));
}

TEST_F(DeathsTest, WhatADeadWorkerHeldWaitsForItsSuccessor) {
  serve(1, 1);
  const auto held = submit("m", numbers({1}));
  scheduler->pump();
  const auto waits = submit("m", numbers({2}));
  auto late = request("m", numbers({3}));
  late->info.deadline = Clock::now() + std::chrono::hours(1);
  scheduler->submit(late);
  scheduler->detach(attachments_[0], "exit status 3");
  EXPECT_TRUE(answered.empty());
  tick(late->info.deadline);
  ASSERT_EQ(answered.size(), 1U) << "it waits no longer than its deadline";
  EXPECT_EQ(late->failure.code(), Code::kDeadlineExceeded);
  start_worker();
  run();
  EXPECT_EQ(output(*held, 0), 11);
  EXPECT_EQ(output(*waits, 0), 12);
}

TEST_F(DeathsTest, SuspectsThatWaitForAWorkerFailWhenTheVersionIsWithdrawn) {
  serve(1, 1);
  const auto held = submit("m", numbers({1}));
  scheduler->pump();
  scheduler->detach(attachments_[0], "exit status 3");
  scheduler->withdraw(id_, "its workers keep crashing");
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_NE(held->failure.message().find("its workers keep crashing"), std::string_view::npos);
}

TEST_F(DeathsTest, ADeadlyInstanceIsRememberedForAMinuteByItsContent) {
  virtual_now = Clock::now();
  deadly_ = {5};
  serve(1);
  submit("m", numbers({5}));
  run();
  EXPECT_EQ(known_.size(), 2U);
  const auto again = submit("m", numbers({4, 5}));
  run();
  EXPECT_EQ(known_.size(), 2U) << "it costs no further worker";
  EXPECT_TRUE(again->errors[0].ok());
  EXPECT_NE(again->errors[1].message().find("workers have just died of an instance with the same values"),
            std::string_view::npos)
      << again->errors[1].message();
  virtual_now += std::chrono::minutes(1);
  deadly_.clear();
  const auto later = submit("m", numbers({5}));
  run();
  EXPECT_TRUE(later->errors[0].ok());
}

TEST_F(DeathsTest, OneWorkerThatDiesByItselfWithAnInstanceAloneProvesIt) {
  by_itself_ = true;
  deadly_ = {5, 6, 7};
  serve(1);
  for (const float value : deadly_) {
    const auto r = submit("m", numbers({value}));
    run();
    EXPECT_EQ(r->errors[0].code(), Code::kUnavailable);
    EXPECT_NE(r->errors[0].message().find("killed by signal 11 (and nothing else)"), std::string_view::npos)
        << r->errors[0].message();
  }
  EXPECT_EQ(known_, (std::vector<bool>{true, true, true})) << "a worker each, and none of them counts against it";
  // In a batch of eight it is found by halves, and the death of the worker that ran it alone is the proof.
  known_.clear();
  deadly_ = {15};
  const auto r = submit("m", numbers({11, 12, 13, 14, 15, 16, 17, 18}));
  run();
  EXPECT_EQ(known_, (std::vector<bool>{false, true, true, true}));
  for (std::uint32_t i = 0; i < 8; ++i) EXPECT_EQ(r->errors[i].ok(), i != 4) << r->errors[i].message();
}

TEST_F(DeathsTest, AWorkerThatRanABatchOnItsOtherLaneAsWellProvesNothing) {
  id_ = publish({function_callee("f", 1, 1, 1), function_callee("g", 1, 1, 1)}, {chain("m", {0}), chain("n", {1})});
  FakeLane functions;
  FakeLane models;
  const AttachmentId lane_f = attach(id_, &functions, {0}, "worker 1");
  const AttachmentId lane_g = attach(id_, &models, {1}, "worker 1");
  submit("m", numbers({1}));
  submit("n", numbers({2}));
  scheduler->pump();
  ASSERT_EQ(functions.tasks.size() + models.tasks.size(), 2U);
  scheduler->detach(lane_f, "killed by signal 11", true);
  scheduler->detach(lane_g, "killed by signal 11", true);
  EXPECT_TRUE(answered.empty()) << "either may be guilty";
}

TEST_F(DeathsTest, AStageThatMayNotBeRerunIsNotRunAgain) {
  CalleeSpec callee = function_callee("f", 1, 1, 4);
  callee.rerun = false;
  id_ = publish({callee}, {chain("m", {0})});
  start_worker();
  const auto r = submit("m", numbers({1, 2, 3, 4, 5, 6, 7, 8}));
  scheduler->pump();
  scheduler->detach(attachments_[0], "exit status 3");
  lanes_.clear();
  attachments_.clear();
  start_worker();
  run();
  ASSERT_EQ(answered.size(), 1U);
  for (std::uint32_t i = 0; i < 8; ++i) EXPECT_EQ(r->errors[i].ok(), i >= 4) << "the second batch had not begun";
  EXPECT_NE(r->errors[0].message().find("rerun=False"), std::string_view::npos) << r->errors[0].message();
}

TEST_F(DeathsTest, ADeadWorkersBatchRunsElsewhereOnceThenFails) {
  FakeLane a;
  FakeLane b;
  const ServableId id = publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})});
  const AttachmentId lane_a = attach(id, &a, {0}, "worker a");
  const AttachmentId lane_b = attach(id, &b, {0}, "worker b");
  const auto r = submit("m", {floats({2}, 7)});
  scheduler->pump();
  FakeLane& first = a.tasks.empty() ? b : a;
  FakeLane& second = a.tasks.empty() ? a : b;
  scheduler->detach(&first == &a ? lane_a : lane_b, "killed by signal 9");
  ASSERT_EQ(second.tasks.size(), 1U) << "run again elsewhere";
  EXPECT_EQ(rows_of(second.tasks[0]), (std::vector<float>{7}));
  EXPECT_TRUE(answered.empty());
  scheduler->detach(&second == &a ? lane_a : lane_b, "killed by signal 9");
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(r->errors[0].code(), Code::kUnavailable);
  EXPECT_NE(r->errors[0].message().find("killed by signal 9"), std::string_view::npos) << r->errors[0].message();
  EXPECT_NE(r->errors[0].message().find("second worker"), std::string_view::npos);
}

}  // namespace
}  // namespace servoir
