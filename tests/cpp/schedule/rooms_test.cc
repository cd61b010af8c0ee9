// Room for the outputs of batches, above all where memory is short.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "servable_fixture.h"

namespace servoir {
namespace {

class RoomTest : public SchedulerTest {
 protected:
  RoomTest() { virtual_now = Clock::time_point(std::chrono::hours(1)); }

  // Takes all of the arena but `left`, rounded.
  void fill_arena(std::uint64_t left) {
    constexpr std::uint64_t kPiece = 1U << 20U;
    while (arena->usage().in_use + left + kPiece <= arena->limit()) held.push_back(arena->allocate(kPiece).value());
    if (left == 0) {
      for (Result<BlockRef> last = arena->allocate(4096); last.ok(); last = arena->allocate(4096)) {
        held.push_back(std::move(last).value());
      }
      for (Result<BlockRef> last = arena->allocate(1); last.ok(); last = arena->allocate(1)) {
        held.push_back(std::move(last).value());
      }
    }
  }
  void need_room(AttachmentId lane_id, const RunTask& task, std::uint64_t bytes) {
    NeedRoomHead need;
    need.task = task.head.task;
    need.bytes = bytes;
    MessageWriter writer;
    writer.put(need);
    ASSERT_TRUE(scheduler->on_record(lane_id, writer.bytes()).ok());
    scheduler->pump();
  }
  void pass(std::chrono::milliseconds time) {
    virtual_now += time;
    tick(virtual_now);
  }
  // The one instance of the only answer.
  std::string error() const {
    EXPECT_EQ(answered.size(), 1U);
    EXPECT_EQ(answered.at(0)->errors[0].code(), Code::kResourceExhausted);
    return std::string(answered.at(0)->errors[0].message());
  }

  std::vector<BlockRef> held;
};

TEST_F(RoomTest, OneLargeAnswerDoesNotMakeWholeBatchesAskForAsMuch) {
  FakeLane lane;
  const AttachmentId lane_id = attach(publish({function_callee("f", 1, 1, 64)}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  const RunTask large = lane.tasks.front();
  lane.tasks.pop_front();
  need_room(lane_id, large, 48U << 20U);
  ASSERT_EQ(lane.rooms.size(), 1U);
  ASSERT_EQ(lane.rooms[0].failed, 0U);
  RowsResult result;
  result.id = large.head.task;
  result.rows = 1;
  result.run_ns = 1000;
  OutputPiece piece;
  piece.rows = 1;
  piece.offset = lane.rooms[0].offset;
  piece.row_bytes = 48U << 20U;
  piece.dtype = DataType::kUint8;
  piece.row_shape = {48U << 20U};
  result.outputs = {{piece}};
  MessageWriter writer;
  write_done(result, &writer);
  ASSERT_TRUE(scheduler->on_record(lane_id, writer.bytes()).ok());
  answered.clear();
  for (int burst = 0; burst < 5; ++burst) {
    for (int i = 0; i < 200; ++i) submit("m", {floats({2}, 1)});
    scheduler->pump();
    while (!lane.tasks.empty()) {
      EXPECT_LE(lane.tasks[0].head.room_bytes, 5U << 20U);
      ASSERT_TRUE(finish(lane_id, lane.tasks[0], 1).ok());
      lane.tasks.pop_front();
      scheduler->pump();
    }
    ASSERT_EQ(answered.size(), 200U);
    for (const auto& done : answered) EXPECT_TRUE(done->errors[0].ok()) << done->errors[0].message();
    answered.clear();
  }
}

TEST_F(RoomTest, ABatchTakesLittleWhereThereIsLittle) {
  FakeLane lane;
  const AttachmentId lane_id =
      attach(publish({model_callee("f", {1 << 20}, 4)}, {chain("m", {0})}), &lane, {0});  // 4 MiB a row
  const TensorRef row = floats({1 << 20}, 1);
  fill_arena(1U << 20U);
  submit("m", {row});
  scheduler->pump();
  ASSERT_EQ(lane.tasks.size(), 1U);
  EXPECT_LT(lane.tasks[0].head.room_bytes, 1U << 20U);
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 1).ok());
  EXPECT_EQ(answered.size(), 1U);
}

TEST_F(RoomTest, ABatchThatFindsNoRoomWaitsForWhatIsOnItsWayOut) {
  FakeLane lane;
  const AttachmentId lane_id = attach(publish({function_callee("f", 1, 1, 4)}, {chain("m", {0})}), &lane, {0});
  const TensorRef row = floats({2}, 1);
  fill_arena(0);
  submit("m", {row});
  scheduler->pump();
  EXPECT_TRUE(lane.tasks.empty());
  EXPECT_TRUE(answered.empty());
  pass(std::chrono::milliseconds(500));
  EXPECT_TRUE(answered.empty());
  held.resize(held.size() / 2);
  pass(std::chrono::milliseconds(10));
  ASSERT_EQ(lane.tasks.size(), 1U);
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 1).ok());
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(output(*answered[0], 0), 2);
}

TEST_F(RoomTest, ABatchThatFindsNoRoomForLongIsRefusedWithUseAndLimit) {
  FakeLane lane;
  attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  const TensorRef row = floats({2}, 1);
  fill_arena(0);
  submit("m", {row});
  scheduler->pump();
  pass(std::chrono::milliseconds(500));
  EXPECT_TRUE(answered.empty());
  pass(std::chrono::milliseconds(600));
  const std::string text = error();
  EXPECT_NE(text.find(std::to_string(arena->usage().in_use) + " of " + std::to_string(arena->limit())),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("SERVOIR_ARENA_LIMIT_MB"), std::string::npos) << text;
  answered.clear();
  submit("m", {row});
  scheduler->pump();
  error();  // it is known that nothing is on its way out
}

TEST_F(RoomTest, AWishForRoomWaitsWhileOthersRun) {
  FakeLane asking;
  FakeLane running;
  const ServableId id = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})});
  const AttachmentId asking_id = attach(id, &asking, {0});
  const AttachmentId running_id = attach(id, &running, {0});
  submit("m", {floats({2}, 1)});
  submit("m", {floats({2}, 2)});
  scheduler->pump();
  ASSERT_EQ(asking.tasks.size(), 1U);
  ASSERT_EQ(running.tasks.size(), 1U);
  fill_arena(8U << 20U);
  need_room(asking_id, asking.tasks[0], 16U << 20U);
  for (int i = 0; i < 10; ++i) pass(std::chrono::seconds(1));
  EXPECT_TRUE(asking.rooms.empty());
  submit("m", {floats({2}, 3)});
  scheduler->pump();
  EXPECT_EQ(asking.tasks.size(), 1U) << "a lane that waits for room is given nothing more";
  ASSERT_TRUE(finish(running_id, running.tasks[0], 1).ok());
  held.resize(held.size() - 10);
  scheduler->pump();
  ASSERT_EQ(asking.rooms.size(), 1U);
  EXPECT_EQ(asking.rooms[0].failed, 0U);
  EXPECT_GE(asking.rooms[0].bytes, 16U << 20U);
  ASSERT_TRUE(finish(asking_id, asking.tasks[0], 1).ok());
}

TEST_F(RoomTest, WishesThatNothingCanFulfilAreRefusedAndLaterOnesAtOnce) {
  FakeLane lanes[2];
  const ServableId id = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})});
  AttachmentId ids[2];
  for (int i = 0; i < 2; ++i) ids[i] = attach(id, &lanes[i], {0});
  submit("m", {floats({2}, 1)});
  submit("m", {floats({2}, 2)});
  scheduler->pump();
  fill_arena(8U << 20U);
  for (int i = 0; i < 2; ++i) need_room(ids[i], lanes[i].tasks[0], 16U << 20U);
  pass(std::chrono::milliseconds(900));
  EXPECT_EQ(lanes[0].rooms.size() + lanes[1].rooms.size(), 0U);
  held.resize(held.size() - 2);  // clients take their answers, if slowly
  pass(std::chrono::milliseconds(900));
  EXPECT_EQ(lanes[0].rooms.size() + lanes[1].rooms.size(), 0U);
  pass(std::chrono::milliseconds(1100));
  // One after the other: the first may make room for the second.
  ASSERT_EQ(lanes[0].rooms.size() + lanes[1].rooms.size(), 1U);
  const int first = lanes[0].rooms.empty() ? 1 : 0;
  for (const int i : {first, 1 - first}) {
    ASSERT_EQ(lanes[i].rooms.size(), 1U);
    EXPECT_EQ(lanes[i].rooms[0].failed, 1U);
    EXPECT_EQ(lanes[i].rooms[0].used, arena->usage().in_use);
    EXPECT_EQ(lanes[i].rooms[0].limit, arena->limit());
    ASSERT_TRUE(finish(ids[i], lanes[i].tasks[0], 0, {{0, "no room"}}).ok());
    lanes[i].tasks.pop_front();
    pass(std::chrono::milliseconds(10));
  }
  submit("m", {floats({2}, 3)});
  scheduler->pump();
  const int next = lanes[0].tasks.empty() ? 1 : 0;
  ASSERT_EQ(lanes[next].tasks.size(), 1U);
  need_room(ids[next], lanes[next].tasks[0], 16U << 20U);
  ASSERT_EQ(lanes[next].rooms.size(), 2U) << "who does not read must not stop the lanes one second each";
  EXPECT_EQ(lanes[next].rooms[1].failed, 1U);
}

TEST_F(RoomTest, AWishEndsWithItsRequestAndWithItsLane) {
  FakeLane lanes[2];
  const ServableId id = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})});
  AttachmentId ids[2];
  for (int i = 0; i < 2; ++i) ids[i] = attach(id, &lanes[i], {0});
  const auto first = submit("m", {floats({2}, 1)});
  submit("m", {floats({2}, 2)});
  scheduler->pump();
  fill_arena(8U << 20U);
  const int of_first = rows_of(lanes[0].tasks[0])[0] == 1 ? 0 : 1;
  need_room(ids[of_first], lanes[of_first].tasks[0], 16U << 20U);
  scheduler->cancel(first, Status::Cancelled("gone"));
  pass(std::chrono::milliseconds(10));
  ASSERT_EQ(lanes[of_first].rooms.size(), 1U);
  EXPECT_EQ(lanes[of_first].rooms[0].failed, 1U);
  need_room(ids[1 - of_first], lanes[1 - of_first].tasks[0], 16U << 20U);
  scheduler->detach(ids[1 - of_first], "it died");
  pass(std::chrono::seconds(5));
  EXPECT_TRUE(lanes[1 - of_first].rooms.empty());
  // Nothing waits, and a wish for more than there is is refused at once.
  need_room(ids[of_first], lanes[of_first].tasks[0], 1ULL << 40U);
  ASSERT_EQ(lanes[of_first].rooms.size(), 2U);
  EXPECT_EQ(lanes[of_first].rooms[1].failed, 1U);
}

}  // namespace
}  // namespace servoir
