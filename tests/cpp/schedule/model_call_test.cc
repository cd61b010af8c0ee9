// Model.call: what a worker's record may ask for.

#include "servable_fixture.h"

namespace servoir {
namespace {

// A function that runs, and a model that it may call.
class ModelCallTest : public SchedulerTest {
 protected:
  void SetUp() override {
    SchedulerTest::SetUp();
    id = publish({function_callee("f", 1, 1, 8), model_callee("k", {0}, 8)}, {chain("m", {0})});
    function_lane = attach(id, &functions, {0});
    attach(id, &models, {1});
    submit("m", {floats({1}, 1)});
    scheduler->pump();
    ASSERT_EQ(functions.tasks.size(), 1U);
  }
  // One piece can stand for any number of rows that have no bytes.
  void call_with(std::uint64_t number, std::uint32_t rows) {
    OutputPiece piece;
    piece.offset = functions.tasks[0].head.room_offset;
    piece.row_bytes = 0;
    piece.rows = rows;
    piece.dtype = DataType::kFloat32;
    piece.row_shape = {0};
    CallRequest call;
    call.task = functions.tasks[0].head.task;
    call.call = number;
    call.callee = 1;
    call.rows = rows;
    call.inputs = {{piece}};
    MessageWriter writer;
    write_call(call, &writer);
    ASSERT_TRUE(scheduler->on_record(function_lane, writer.bytes()).ok());
  }

  FakeLane functions;
  FakeLane models;
  ServableId id = 0;
  AttachmentId function_lane = 0;
};

TEST_F(ModelCallTest, ACallOfVeryManyInstancesIsRefusedAndTheWorkerLives) {
  call_with(5, 4'000'000'000U);
  ASSERT_EQ(functions.called.size(), 1U);
  const RowsResult& called = functions.called[0];
  EXPECT_EQ(called.id, 5U);
  ASSERT_EQ(called.failures.size(), 1U);
  EXPECT_EQ(called.failures[0].code, Code::kResourceExhausted);
  EXPECT_EQ(called.failures[0].text,
            "Model.call with 4000000000 instances has too many: at most 1048576 are accepted; call with fewer at a "
            "time");
  scheduler->pump();
  EXPECT_TRUE(models.tasks.empty());
  ASSERT_TRUE(finish(function_lane, functions.tasks[0], 1).ok());
  EXPECT_EQ(answered.size(), 1U);
}

TEST_F(ModelCallTest, ACallIsCountedBesideTheTensorsThatItHas) {
  MemoryShare others(slabs->heap(), 0);
  ASSERT_TRUE(others.add(slabs->heap()->limit() - 1'000'000));
  call_with(1, 100'000);
  ASSERT_EQ(functions.called.size(), 1U);
  ASSERT_EQ(functions.called[0].failures.size(), 1U);
  EXPECT_EQ(functions.called[0].failures[0].code, Code::kResourceExhausted);
  EXPECT_NE(functions.called[0].failures[0].text.find("SERVOIR_ARENA_LIMIT_MB"), std::string::npos);
  call_with(2, 1000);
  EXPECT_EQ(functions.called.size(), 1U) << "it runs";
  EXPECT_GT(slabs->heap()->used(), others.held());
  scheduler->withdraw(id, "the test is over");
  answered.clear();
  EXPECT_EQ(slabs->heap()->used(), others.held());
}

}  // namespace
}  // namespace servoir
