#include "worker/model_lane.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "fake_model.h"
#include "lane_fixture.h"

namespace servoir {
namespace {

using Floats = std::vector<float>;

class ModelLaneTest : public testing::Test {
 protected:
  void start(FakeModel::Function function) {
    auto model = std::make_shared<FakeModel>(std::vector<Port>{float_port("x", {kDynamic, 1})},
                                             std::vector<Port>{float_port("y", {kDynamic, 1})}, std::move(function));
    lane_ = std::make_unique<ModelLane>(server_.worker_end(), &*server_.view,
                                        [this](const Status& why) { broken_.set_value(std::string(why.message())); });
    auto runner = BatchRunner::create({std::move(model), 8}, &*server_.view);
    ASSERT_TRUE(runner.ok());
    ASSERT_TRUE(lane_->add(0, std::move(runner).value()).ok());
    lane_->start();
  }

  LaneServer server_;
  std::promise<std::string> broken_;
  std::unique_ptr<ModelLane> lane_;
};

TEST_F(ModelLaneTest, RunsBatchesInOrder) {
  start(plus_one);
  for (float i = 0; i < 100; ++i) server_.post(server_.task({server_.input({{i, i + 1}}, {1})}));
  for (float i = 0; i < 100; ++i) {
    const RowsResult result = server_.done();
    EXPECT_EQ(result.id, static_cast<std::uint64_t>(i) + 1);
    EXPECT_EQ(server_.floats(result.outputs.at(0).at(0)), (Floats{i + 1, i + 2}));
  }
}

TEST_F(ModelLaneTest, ARunThatComesBeforeTheRoomIsKept) {
  start(plus_one);
  const RunTask first = server_.task({server_.input({{1}}, {1})}, 0);
  const RunTask second = server_.task({server_.input({{10}}, {1})});
  const RunTask third = server_.task({server_.input({{20}}, {1})});
  server_.post(first);
  const NeedRoomHead need = server_.need_room();
  EXPECT_EQ(need.task, first.head.task);
  EXPECT_GE(need.bytes, sizeof(float));
  server_.post(second);
  server_.post(third);
  const BlockRef block = server_.block(need.bytes);
  RoomHead room;
  room.task = first.head.task;
  room.offset = block->offset();
  room.bytes = need.bytes;
  server_.post_head(room);
  const RowsResult done = server_.done();
  EXPECT_EQ(done.id, first.head.task);
  EXPECT_EQ(done.outputs.at(0).at(0).offset, block->offset());
  EXPECT_EQ(server_.floats(done.outputs[0][0]), (Floats{2}));
  EXPECT_EQ(server_.done().id, second.head.task);
  EXPECT_EQ(server_.done().id, third.head.task);
}

TEST_F(ModelLaneTest, NoRoomFailsTheRows) {
  start(plus_one);
  server_.post(server_.task({server_.input({{1, 2}}, {1})}, 0));
  RoomHead none;
  none.task = server_.need_room().task;
  none.failed = 1;
  server_.post_head(none);
  const RowsResult done = server_.done();
  ASSERT_EQ(done.failures.size(), 2U);
  EXPECT_EQ(done.failures[0].code, Code::kResourceExhausted);
}

TEST_F(ModelLaneTest, StopFinishesTheBatchThatRuns) {
  std::promise<void> running;
  std::promise<void> go_on;
  start([&](FakeModel& model, auto inputs, auto outputs) {
    running.set_value();
    go_on.get_future().wait();
    return plus_one(model, inputs, outputs);
  });
  server_.post(server_.task({server_.input({{1}}, {1})}));
  running.get_future().wait();
  lane_->stop();
  go_on.set_value();
  lane_->join();
  EXPECT_EQ(server_.floats(server_.done().outputs.at(0).at(0)), (Floats{2}));
}

TEST_F(ModelLaneTest, StopWakesALaneThatWaits) {
  start(plus_one);
  lane_->stop();
  lane_->join();
}

TEST_F(ModelLaneTest, ARecordThatMakesNoSenseBreaksTheLane) {
  start(plus_one);
  RunTask task = server_.task({server_.input({{1}}, {1})});
  task.head.callee = 9;
  server_.post(task);
  const std::string why = broken_.get_future().get();
  EXPECT_NE(why.find("callee 9"), std::string::npos) << why;
}

TEST_F(ModelLaneTest, AnAnswerThatNobodyWaitsForBreaksTheLane) {
  start(plus_one);
  server_.post_head(RoomHead{});
  EXPECT_NE(broken_.get_future().get().find("nothing in this worker waits for"), std::string::npos);
}

TEST_F(ModelLaneTest, ErrorsThatDoNotFitTheRingAreCut) {
  start([](FakeModel&, auto, auto) { return Status::Internal(std::string(200'000, 'x')); });
  server_.post(server_.task({server_.input({Floats(60, 1)}, {1})}));
  const RowsResult done = server_.done();
  ASSERT_EQ(done.failures.size(), 60U);
  EXPECT_EQ(done.failures[59].text, std::string(100, 'x'));
}

}  // namespace
}  // namespace servoir
