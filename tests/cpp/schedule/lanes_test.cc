// What the scheduler does with what lanes send: calls, requests for room, results, and nothing any more.

#include "schedule/scheduler.h"
#include "servable_fixture.h"

namespace servoir {
namespace {

TEST_F(SchedulerTest, ACallRunsOnTheModelsLaneAndComesBack) {
  FakeLane functions;
  FakeLane models;
  const ServableId id =
      publish({function_callee("f", 1, 1, 8), model_callee("k", {1}, 8)}, {chain("m", {0}), chain("direct", {1})});
  const AttachmentId function_lane = attach(id, &functions, {0});
  const AttachmentId model_lane = attach(id, &models, {1});
  const auto r = submit("m", {floats({1}, 1)});
  scheduler->pump();
  ASSERT_EQ(functions.tasks.size(), 1U);
  const RunTask& caller = functions.tasks[0];
  CallRequest call;
  call.task = caller.head.task;
  call.call = 77;
  call.callee = 1;
  call.rows = 2;
  const float values[] = {5, 6};
  std::memcpy(arena->base() + caller.head.room_offset, values, sizeof(values));
  OutputPiece piece;
  piece.offset = caller.head.room_offset;
  piece.row_bytes = 4;
  piece.rows = 2;
  piece.dtype = DataType::kFloat32;
  piece.row_shape = {1};
  call.inputs = {{piece}};
  MessageWriter writer;
  write_call(call, &writer);
  ASSERT_TRUE(scheduler->on_record(function_lane, writer.bytes()).ok());
  const auto direct = submit("direct", {floats({1}, 9)});
  scheduler->pump();
  ASSERT_EQ(models.tasks.size(), 1U);
  EXPECT_EQ(rows_of(models.tasks[0]), (std::vector<float>{5, 6, 9})) << "calls share batches with everybody";
  ASSERT_TRUE(finish(model_lane, models.tasks[0], 100).ok());
  ASSERT_EQ(functions.called.size(), 1U);
  const RowsResult& called = functions.called[0];
  EXPECT_EQ(called.id, 77U);
  ASSERT_EQ(called.outputs.size(), 1U);
  EXPECT_EQ(first_float(arena->base() + called.outputs[0][0].offset), 105);
  ASSERT_TRUE(finish(function_lane, caller, 0).ok());
  EXPECT_EQ(answered.size(), 2U);
  EXPECT_EQ(output(*direct, 0), 109);
  EXPECT_EQ(output(*r, 0), 1);
}

TEST_F(SchedulerTest, RoomIsGivenOnRequest) {
  FakeLane lane;
  const AttachmentId lane_id = attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  NeedRoomHead need;
  need.task = lane.tasks[0].head.task;
  need.bytes = 1U << 20U;
  MessageWriter writer;
  writer.put(need);
  ASSERT_TRUE(scheduler->on_record(lane_id, writer.bytes()).ok());
  ASSERT_EQ(lane.rooms.size(), 1U);
  EXPECT_EQ(lane.rooms[0].failed, 0U);
  EXPECT_GE(lane.rooms[0].bytes, need.bytes);
  need.bytes = 1ULL << 40U;
  writer.clear();
  writer.put(need);
  ASSERT_TRUE(scheduler->on_record(lane_id, writer.bytes()).ok());
  EXPECT_EQ(lane.rooms[1].failed, 1U);
}

class ResultOfARowTest : public SchedulerTest {
 protected:
  static OutputPiece a_row(DataType dtype, Shape shape, std::uint64_t bytes) {
    OutputPiece piece;
    piece.rows = 1;
    piece.row_bytes = bytes;
    piece.dtype = dtype;
    piece.row_shape = shape;
    return piece;
  }
  // The result of a task of one instance.
  Status give(AttachmentId lane, const RunTask& task, const OutputPiece& piece) {
    RowsResult result;
    result.id = task.head.task;
    result.rows = 1;
    result.outputs = {{piece}};
    MessageWriter writer;
    write_done(result, &writer);
    return scheduler->on_record(lane, writer.bytes());
  }
};

TEST_F(ResultOfARowTest, OutsideTheRoomIsRefused) {
  FakeLane lane;
  const AttachmentId lane_id = attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  OutputPiece piece = a_row(DataType::kFloat32, {1}, 4);
  const std::uint64_t room = lane.tasks[0].head.room_offset;
  for (const std::uint64_t offset :
       std::vector<std::uint64_t>{room - 4, room + lane.tasks[0].head.room_bytes - 2, ~0ULL - 2}) {
    piece.offset = offset;
    EXPECT_EQ(give(lane_id, lane.tasks[0], piece).code(), Code::kInternal) << offset;
  }
  EXPECT_TRUE(answered.empty());
}

TEST_F(ResultOfARowTest, ThatIsNoArrayOfTextsIsRefused) {
  FakeLane lane;
  const AttachmentId lane_id = attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  submit("m", {floats({2}, 1)});
  scheduler->pump();
  OutputPiece piece = a_row(DataType::kString, {2}, 10);
  piece.offset = lane.tasks[0].head.room_offset;
  std::byte* const room = arena->base() + piece.offset;
  const auto sent = [&](std::string_view bytes) {
    std::memcpy(room, bytes.data(), bytes.size());
    return give(lane_id, lane.tasks[0], piece);
  };
  for (const std::string_view wrong :
       {std::string_view("\1\0\0\0a\2\0\0\0b", 10), std::string_view("\1\0\0\0a\0\0\0\0b", 10),
        std::string_view("\xff\xff\xff\xff"
                         "a\0\0\0\0b",
                         10)}) {
    const Status status = sent(wrong);
    EXPECT_EQ(status.code(), Code::kInternal);
    EXPECT_NE(status.message().find("a result of str: the array of shape [2] has 2 elements"), std::string_view::npos)
        << status.message();
  }
  EXPECT_TRUE(answered.empty());
  EXPECT_TRUE(sent(std::string_view("\1\0\0\0a\1\0\0\0b", 10)).ok());
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(answered[0]->at(1, 0).shape, Shape({2}));
}

TEST_F(SchedulerTest, AFullTaskRingLosesNothing) {
  FakeLane lane;
  lane.full = true;
  const AttachmentId lane_id = attach(publish({function_callee("f", 1, 1, 8)}, {chain("m", {0})}), &lane, {0});
  const auto r = submit("m", {floats({2}, 1), floats({2}, 2)});
  scheduler->pump();
  lane.full = false;
  tick(wake());
  ASSERT_EQ(lane.tasks.size(), 1U);
  EXPECT_EQ(rows_of(lane.tasks[0]), (std::vector<float>{1, 2}));
  ASSERT_TRUE(finish(lane_id, lane.tasks[0], 0).ok());
  EXPECT_EQ(answered.size(), 1U);
}

}  // namespace
}  // namespace servoir
