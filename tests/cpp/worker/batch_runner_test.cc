// Batches as a model gets them, and what becomes of its results. Batches that fail: batch_failures_test.cc.
#include "batch_runner_fixture.h"

namespace servoir {
namespace {

TEST_F(BatchRunnerTest, OnePieceIsUsedInPlaceAndTheResultWrittenIntoTheRoom) {
  BatchRunner runner = plus_one_runner({kDynamic, 2});
  const RunTask task = server_.task({server_.input({{1, 2, 3, 4}}, {2})});
  const RowsResult result = run(&runner, task);
  ASSERT_EQ(model_->calls.size(), 1U);
  EXPECT_EQ(model_->calls[0].inputs[0], at(task.inputs[0].pieces[0].offset));
  EXPECT_EQ(model_->calls[0].shapes[0], (Shape{2, 2}));
  ASSERT_EQ(result.outputs.size(), 1U);
  ASSERT_EQ(result.outputs[0].size(), 1U);
  EXPECT_EQ(result.outputs[0][0].offset, task.head.room_offset);
  EXPECT_EQ(result.outputs[0][0].rows, 2U);
  EXPECT_EQ(result.outputs[0][0].row_shape, (Shape{2}));
  EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{2, 3, 4, 5}));
  EXPECT_TRUE(result.failures.empty());
  EXPECT_TRUE(source_.asked.empty());
}

TEST_F(BatchRunnerTest, ScatteredRowsAreGathered) {
  BatchRunner runner = plus_one_runner({kDynamic, 2});
  const RunTask task = server_.task({server_.input({{1, 2}, {3, 4, 5, 6}, {7, 8}}, {2})});
  const RowsResult result = run(&runner, task);
  EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(model_->calls.size(), 1U);
}

TEST_F(BatchRunnerTest, PiecesThatTouchAreOne) {
  BatchRunner runner = plus_one_runner({kDynamic, 2});
  RunTask task = server_.task({server_.input({{1, 2, 3, 4, 5, 6}}, {2})});
  RowRun whole = task.inputs[0].pieces[0];
  task.inputs[0].pieces = {{whole.offset, 8, 1}, {whole.offset + 8, 8, 2}};
  run(&runner, task);
  EXPECT_EQ(model_->calls[0].inputs[0], at(whole.offset));
}

TEST_F(BatchRunnerTest, RowsApartAreGathered) {
  BatchRunner runner = plus_one_runner({kDynamic, 2});
  RunTask task = server_.task({server_.input({{1, 2, 0, 3, 4, 0}}, {3})});
  task.inputs[0].row_shape = Shape{2};
  const RowsResult result = run(&runner, task);
  EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{2, 3, 4, 5}));
}

TEST_F(BatchRunnerTest, AShortBatchIsFilledWithTheFirstInstance) {
  BatchRunner runner = plus_one_runner({4, 1});
  EXPECT_EQ(runner.fixed_batch(), 4U);
  Floats seen;
  model_ = std::make_shared<FakeModel>(std::vector<Port>{float_port("x", {4, 1})},
                                       std::vector<Port>{float_port("y", {4, 1})},
                                       [&seen](FakeModel& m, auto inputs, auto outputs) {
                                         seen = floats_of(inputs[0]);
                                         return plus_one(m, inputs, outputs);
                                       });
  runner = this->runner(model_);
  for (const std::uint64_t room : {4096U, 8U}) {  // with room for the surplus results, and without
    const RowsResult result = run(&runner, server_.task({server_.input({{5, 6}}, {1})}, room));
    EXPECT_EQ(seen, (Floats{5, 6, 5, 5}));
    ASSERT_EQ(result.outputs[0].size(), 1U);
    EXPECT_EQ(result.outputs[0][0].rows, 2U);
    EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{6, 7}));
  }
  EXPECT_TRUE(source_.asked.empty());
}

TEST_F(BatchRunnerTest, MoreRowsThanAFixedBatchAreSeveralRuns) {
  BatchRunner runner = plus_one_runner({2, 1});
  const RowsResult result = run(&runner, server_.task({server_.input({{1, 2, 3, 4, 5}}, {1})}));
  EXPECT_EQ(model_->calls.size(), 3U);
  Floats all;
  for (const OutputPiece& piece : result.outputs[0]) {
    for (const float value : server_.floats(piece)) all.push_back(value);
  }
  EXPECT_EQ(all, (Floats{2, 3, 4, 5, 6}));
}

TEST_F(BatchRunnerTest, WithoutBatchDimensionEachInstanceIsRunAsItIs) {
  BatchRunner runner = plus_one_runner({2}, false);
  const RowsResult result = run(&runner, server_.task({server_.input({{1, 2, 3, 4}}, {2})}));
  EXPECT_EQ(model_->calls.size(), 2U);
  EXPECT_EQ(model_->calls[1].shapes[0], (Shape{2}));
  std::uint32_t rows = 0;
  for (const OutputPiece& piece : result.outputs[0]) {
    EXPECT_EQ(piece.row_shape, (Shape{2}));
    rows += piece.rows;
  }
  EXPECT_EQ(rows, 2U);
}

TEST_F(BatchRunnerTest, AnUnbatchedInputIsTheFirstInstances) {
  auto model =
      std::make_shared<FakeModel>(std::vector<Port>{float_port("x", {kDynamic, 1}), float_port("scale", {1})},
                                  std::vector<Port>{float_port("y", {kDynamic, 1})},
                                  [](FakeModel& m, std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) {
                                    Floats values = floats_of(inputs[0]);
                                    for (float& value : values) value *= floats_of(inputs[1])[0];
                                    m.give(values, inputs[0].shape, outputs.data());
                                    return Status::Ok();
                                  });
  BatchRunner runner = this->runner(model, true, {1});
  const RowsResult result =
      run(&runner, server_.task({server_.input({{1, 2, 3}}, {1}), server_.input({{10}, {20, 30}}, {1})}));
  EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{10, 20, 30}));
  EXPECT_EQ(model->calls[0].shapes[1], (Shape{1}));
}

TEST_F(BatchRunnerTest, AnUnbatchedOutputIsGivenWholeToEachInstance) {
  for (const bool known : {true, false}) {  // from the file, or not before the first run
    auto model = std::make_shared<FakeModel>(
        std::vector<Port>{float_port("x", {kDynamic, 1})},
        std::vector<Port>{float_port("y", {kDynamic, 1}), float_port("c", {known ? 2 : kDynamic})},
        [](FakeModel& m, std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) {
          m.give({10, 20}, Shape{2}, &outputs[1]);
          return plus_one(m, inputs, outputs);
        });
    BatchRunner runner = this->runner(model, true, {}, {1});
    EXPECT_EQ(runner.fixed_batch(), 0U);
    for (int i = 0; i < 2; ++i) {
      const RowsResult result = run(&runner, server_.task({server_.input({{1, 2, 3}}, {1})}));
      ASSERT_TRUE(result.failures.empty()) << result.failures[0].text;
      EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{2, 3, 4}));
      ASSERT_EQ(result.outputs[1].size(), 1U);
      EXPECT_EQ(result.outputs[1][0].rows, 3U);
      EXPECT_EQ(result.outputs[1][0].row_shape, Shape{2});
      EXPECT_EQ(server_.floats(result.outputs[1][0]), (Floats{10, 20, 10, 20, 10, 20}));
    }
  }
}

TEST_F(BatchRunnerTest, ARoomThatTheModelHasNotWrittenIsNeverSent) {
  constexpr std::int64_t kWidth = 64;
  std::int64_t written = 0;  // values of each row
  auto model = std::make_shared<FakeModel>(
      std::vector<Port>{float_port("x", {kDynamic, 1})}, std::vector<Port>{float_port("y", {kDynamic, kWidth})},
      [&written](FakeModel&, std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) {
        const auto rows = static_cast<std::size_t>(inputs[0].shape.dims[0]);
        for (std::size_t row = 0; row < rows; ++row) {
          auto* values = reinterpret_cast<float*>(outputs[0].data) + row * kWidth;
          std::fill_n(values, written, 3.0F);
        }
        return Status::Ok();  // and it says that all is in the room
      });
  for (const RoomMarks::Extent marks : {RoomMarks::Extent::kEnd, RoomMarks::Extent::kWhole}) {
    BatchRunner runner = this->runner(model, true, {}, {}, marks);
    const RunTask task = server_.task({server_.input({{1, 2}}, {1})});
    for (const std::int64_t values : {std::int64_t{0}, kWidth / 2}) {
      written = values;
      const RowsResult result = run(&runner, task);
      ASSERT_EQ(result.failures.size(), 2U) << values;
      EXPECT_EQ(result.failures[0].code, Code::kInternal);
      EXPECT_EQ(result.failures[0].text,
                "the backend has not written output 0 ('y') of the model, although it says so");
      EXPECT_TRUE(result.outputs.empty());
    }
    written = kWidth;
    const RowsResult result = run(&runner, task);
    EXPECT_TRUE(result.failures.empty());
    EXPECT_EQ(good_values(result), Floats(2 * kWidth, 3));
  }
}

TEST_F(BatchRunnerTest, AnInstanceCountsByTypeAndBytes) {
  BatchRunner runner = plus_one_runner({kDynamic, 2});
  RunTask task = server_.task({server_.input({{1, 2}}, {2, 1})});
  RowsResult result = run(&runner, task);
  EXPECT_TRUE(result.failures.empty());
  EXPECT_EQ(result.outputs[0][0].row_shape, (Shape{2}));

  result = run(&runner, server_.task({server_.input({{1, 2, 3}}, {3})}));
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_EQ(result.failures[0].code, Code::kInvalidArgument);
  EXPECT_EQ(result.failures[0].text,
            "input 0 'x' of the model has to be float32 [2] of 8 bytes; given float32 [3] of 12 bytes");

  task = server_.task({server_.input({{1, 2}}, {2})});
  task.inputs[0].dtype = DataType::kInt32;
  result = run(&runner, task);
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_NE(result.failures[0].text.find("given int32 [2]"), std::string::npos) << result.failures[0].text;
  EXPECT_TRUE(result.outputs.empty());
}

TEST_F(BatchRunnerTest, OpenDimensionsTakeTheInstancesShape) {
  BatchRunner runner = plus_one_runner({kDynamic, kDynamic, 2});
  RowsResult result = run(&runner, server_.task({server_.input({{1, 2, 3, 4}}, {2, 2})}));
  EXPECT_EQ(model_->calls[0].shapes[0], (Shape{1, 2, 2}));
  EXPECT_EQ(model_->calls[0].rooms[0], false);  // not known yet
  EXPECT_EQ(result.outputs[0][0].row_shape, (Shape{2, 2}));
  result = run(&runner, server_.task({server_.input({{1, 2, 3, 4}}, {2, 2})}));
  EXPECT_EQ(model_->calls[1].rooms[0], true);  // remembered
  EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{2, 3, 4, 5}));
  result = run(&runner, server_.task({server_.input({{1, 2, 3, 4}}, {4})}));
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_NE(result.failures[0].text.find("has to be float32 [?, 2]; given float32 [4]"), std::string::npos);
  result = run(&runner, server_.task({server_.input({{1, 2, 3}}, {1, 3})}));
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_NE(result.failures[0].text.find("given float32 [1, 3]"), std::string::npos);
}

TEST_F(BatchRunnerTest, AModelThatDoesNotSayItsTypesTakesNumbersOfAny) {
  const auto as_it_came = [](FakeModel& model, auto inputs, auto outputs) {
    const bool roomy = outputs[0].expected && outputs[0].dtype == inputs[0].dtype &&
                       outputs[0].shape == inputs[0].shape && outputs[0].data != nullptr;
    if (roomy) {
      std::memcpy(outputs[0].data, inputs[0].data, inputs[0].bytes);
      return Status::Ok();
    }
    model.give(floats_of(inputs[0]), inputs[0].shape, outputs.data());
    outputs[0].dtype = inputs[0].dtype;
    return Status::Ok();
  };
  const Port any{"x", DataType::kUnknown, true, {kDynamic, 2}};
  BatchRunner runner =
      this->runner(std::make_shared<FakeModel>(std::vector<Port>{any}, std::vector<Port>{any}, as_it_came));
  for (const DataType dtype : {DataType::kFloat32, DataType::kInt32, DataType::kFloat32, DataType::kInt32}) {
    RunTask task = server_.task({server_.input({{1, 2, 3, 4}}, {2})});
    task.inputs[0].dtype = dtype;
    const RowsResult result = run(&runner, task);
    ASSERT_TRUE(result.failures.empty()) << result.failures[0].text;
    EXPECT_EQ(result.outputs[0][0].dtype, dtype);
    EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{1, 2, 3, 4}));
  }
  // The room is there before the model runs once its output of these inputs is known.
  std::vector<bool> rooms;
  for (const FakeModel::Call& call : model_->calls) rooms.push_back(call.rooms[0]);
  EXPECT_EQ(rooms, (std::vector<bool>{false, false, true, true}));

  RunTask text = server_.task({server_.input({{1, 2}}, {2})});
  text.inputs[0].dtype = DataType::kString;
  const RowsResult refused = run(&runner, text);
  ASSERT_EQ(refused.failures.size(), 1U);
  EXPECT_EQ(refused.failures[0].code, Code::kInvalidArgument);
  EXPECT_NE(refused.failures[0].text.find("has to be numbers [2]; given str"), std::string::npos)
      << refused.failures[0].text;
}

TEST_F(BatchRunnerTest, ShapesThatDependOnValuesAreNotGuessedForever) {
  float length = 1;
  auto model = std::make_shared<FakeModel>(
      std::vector<Port>{float_port("x", {kDynamic, 1})}, std::vector<Port>{float_port("y", {kDynamic, kDynamic})},
      [&length](FakeModel& m, std::span<const ModelInput>, std::span<ModelOutput> outputs) {
        m.give(Floats(static_cast<std::size_t>(length), 7), Shape{1, static_cast<std::int64_t>(length)},
               outputs.data());
        return Status::Ok();
      });
  BatchRunner runner = this->runner(model);
  for (int i = 0; i < 10; ++i, length += 1) {
    const RowsResult result = run(&runner, server_.task({server_.input({{1}}, {1})}));
    ASSERT_TRUE(result.failures.empty());
    EXPECT_EQ(server_.floats(result.outputs[0][0]), Floats(static_cast<std::size_t>(length), 7));
  }
  EXPECT_TRUE(model->calls[1].rooms[0]);
  EXPECT_FALSE(model->calls[9].rooms[0]);
}

TEST_F(BatchRunnerTest, AsksForRoomWhenItsRoomIsTooSmall) {
  BatchRunner runner = plus_one_runner({kDynamic, 2});
  RowsResult result = run(&runner, server_.task({server_.input({{1, 2, 3, 4}}, {2})}, 0));
  EXPECT_EQ(source_.asked, (std::vector<std::uint64_t>{16}));
  EXPECT_EQ(server_.floats(result.outputs[0][0]), (Floats{2, 3, 4, 5}));
  source_.exhausted = true;
  result = run(&runner, server_.task({server_.input({{1, 2, 3, 4}}, {2})}, 8));
  ASSERT_EQ(result.failures.size(), 2U);
  EXPECT_EQ(result.failures[0].code, Code::kResourceExhausted);
  EXPECT_EQ(source_.asked.size(), 2U);  // not once more for each row
}

TEST_F(BatchRunnerTest, APieceOutsideTheArenaIsAnError) {
  BatchRunner runner = plus_one_runner({kDynamic, 1});
  for (const std::uint64_t offset : {server_.arena->limit(), ~std::uint64_t{0} - 2}) {
    RunTask task = server_.task({server_.input({{1, 2}}, {1})});
    task.inputs[0].pieces[0].offset = offset;
    const RowsResult result = run(&runner, task);
    ASSERT_EQ(result.failures.size(), 2U);
    EXPECT_EQ(result.failures[0].code, Code::kInternal);
  }
}

TEST_F(BatchRunnerTest, AWrongNumberOfInputsFailsTheRows) {
  BatchRunner runner = plus_one_runner({kDynamic, 1});
  const RowsResult result = run(&runner, server_.task({server_.input({{1}}, {1}), server_.input({{1}}, {1})}));
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_EQ(result.failures[0].text, "the model takes 1 inputs, got 2");
}

TEST(BatchRunnerSetup, ContradictionsAreRefused) {
  const auto refused = [](std::vector<Port> inputs, std::vector<Port> outputs, bool with_batch_dim,
                          std::vector<std::uint32_t> unbatched) {
    auto model = std::make_shared<FakeModel>(std::move(inputs), std::move(outputs), plus_one);
    auto made = BatchRunner::create({std::move(model), 8, {with_batch_dim, std::move(unbatched)}}, nullptr);
    return made.ok() ? std::string("accepted") : std::string(made.status().message());
  };
  EXPECT_EQ(
      refused({float_port("x", {4, 1})}, {float_port("y", {2, 1})}, true, {}),
      "output 'y' has 2 as its first dimension, but input 'x' has 4; with a batch dimension all of them must be the "
      "same");
  EXPECT_NE(refused({float_port("x", {})}, {float_port("y", {2})}, true, {}).find("is a single value"),
            std::string::npos);
  EXPECT_NE(refused({float_port("x", {0, 1})}, {}, true, {}).find("has shape [0, 1]"), std::string::npos);
  EXPECT_NE(refused({float_port("x", {4})}, {}, true, {1}).find("the model has 1 inputs"), std::string::npos);
  EXPECT_EQ(refused({float_port("x", {4, 1}), float_port("w", {})}, {float_port("y", {4})}, true, {1}), "accepted");
  EXPECT_EQ(refused({float_port("x", {4})}, {float_port("y", {2})}, false, {}), "accepted");
}

}  // namespace
}  // namespace servoir
