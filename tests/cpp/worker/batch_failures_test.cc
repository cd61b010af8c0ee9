// Batches that fail: which of their instances get the error, and how often the model is run to find them.
#include <algorithm>

#include "batch_runner_fixture.h"

namespace servoir {
namespace {

TEST_F(BatchRunnerTest, OnlyTheGuiltyInstanceFails) {
  BatchRunner runner = plus_one_runner({kDynamic, 1});
  const RowsResult result = run(&runner, server_.task({server_.input({{1, 666, 3, 4}}, {1})}));
  EXPECT_EQ(model_->calls.size(), 5U);
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_EQ(result.failures[0].row, 1U);
  EXPECT_EQ(result.failures[0].text, "the model hates 666");
  std::vector<std::uint32_t> rows;
  std::vector<DataType> types;
  Floats all;
  for (const OutputPiece& piece : result.outputs[0]) {
    for (std::uint32_t i = 0; i < piece.rows; ++i) types.push_back(piece.dtype);
    for (const float value : server_.floats(piece)) all.push_back(value);
  }
  EXPECT_EQ(types,
            (std::vector<DataType>{DataType::kFloat32, DataType::kUnknown, DataType::kFloat32, DataType::kFloat32}));
  EXPECT_EQ(all, (Floats{2, 4, 5}));
  MessageWriter writer;
  write_done(result, &writer);
  RowsResult read;
  EXPECT_TRUE(read_rows_result(writer.bytes(), &read).ok());
}

TEST_F(BatchRunnerTest, ManyBadInstancesDoNotCostAGoodOne) {
  for (const std::int64_t batch : {kDynamic, std::int64_t{11}, std::int64_t{16}, std::int64_t{4}}) {
    BatchRunner runner = plus_one_runner({batch, 1});
    const Floats values = {666, 666, 666, 666, 666, 666, 666, 666, 1, 2, 3};  // 8 alike, and 3 that are good
    const RowsResult result = run(&runner, server_.task({server_.input({values}, {1})}));
    EXPECT_EQ(failed_rows(result), (Rows{0, 1, 2, 3, 4, 5, 6, 7})) << batch;
    EXPECT_EQ(good_values(result), (Floats{2, 3, 4})) << batch;
    EXPECT_LE(model_->calls.size(), 2 * values.size() - 1) << batch;
  }
}

TEST_F(BatchRunnerTest, WithoutBatchDimensionEveryInstanceIsRun) {
  BatchRunner runner = plus_one_runner({1}, false);
  Floats values(20, 666);
  values.push_back(7);
  const RowsResult result = run(&runner, server_.task({server_.input({values}, {1})}));
  EXPECT_EQ(result.failures.size(), 20U);
  EXPECT_EQ(good_values(result), Floats{8});
  EXPECT_EQ(model_->calls.size(), values.size());
}

TEST_F(BatchRunnerTest, TheGuiltyAreFoundWhereverTheyAre) {
  // Each set of guilty instances in batches of 1 to 9, also where several runs of a fixed batch make up the task.
  for (const std::int64_t batch : {kDynamic, std::int64_t{3}}) {
    for (std::uint32_t rows = 1; rows <= 9; ++rows) {
      for (std::uint32_t guilty = 0; guilty < (1U << rows); ++guilty) {
        BatchRunner runner = plus_one_runner({batch, 1});
        Floats values;
        Floats good;
        Rows bad;
        for (std::uint32_t row = 0; row < rows; ++row) {
          const bool is_bad = ((guilty >> row) & 1U) != 0;
          values.push_back(is_bad ? 666.0F : static_cast<float>(row));
          if (is_bad) {
            bad.push_back(row);
          } else {
            good.push_back(static_cast<float>(row) + 1);
          }
        }
        const RowsResult result = run(&runner, server_.task({server_.input({values}, {1})}));
        ASSERT_EQ(failed_rows(result), bad);
        ASSERT_EQ(good_values(result), good);
        const std::size_t runs = batch == kDynamic ? 1 : (rows + 2) / 3;
        ASSERT_LE(model_->calls.size(), 2 * rows - runs);
        MessageWriter writer;
        write_done(result, &writer);
        RowsResult read;
        ASSERT_TRUE(read_rows_result(writer.bytes(), &read).ok());
      }
      server_.blocks.clear();
    }
  }
}

TEST_F(BatchRunnerTest, OneBadInstanceOfALargeBatchCostsFewRuns) {
  BatchRunner runner = plus_one_runner({64, 1});
  Floats values(64, 1);
  values[37] = 666;
  const RowsResult result = run(&runner, server_.task({server_.input({values}, {1})}));
  EXPECT_EQ(failed_rows(result), Rows{37});
  EXPECT_EQ(model_->calls.size(), 13U);  // two for each halving of 64, and the first
}

TEST_F(BatchRunnerTest, AModelThatAlwaysFailsIsRunNoMoreThanTwiceAnInstance) {
  BatchRunner runner = plus_one_runner({kDynamic, 1});
  const RowsResult result = run(&runner, server_.task({server_.input({Floats(100, 666)}, {1})}));
  EXPECT_EQ(result.failures.size(), 100U);
  EXPECT_TRUE(result.outputs.empty());
  EXPECT_EQ(model_->calls.size(), 199U);
}

TEST_F(BatchRunnerTest, AnInstanceWhoseResultHasTheWrongShapeFailsAlone) {
  // As a model that leaves rows out by their values does.
  auto model = std::make_shared<FakeModel>(
      std::vector<Port>{float_port("x", {kDynamic, 1})}, std::vector<Port>{float_port("y", {kDynamic, 1})},
      [](FakeModel& m, std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) {
        Floats left = floats_of(inputs[0]);
        left.erase(std::remove_if(left.begin(), left.end(), [](float value) { return value < 0; }), left.end());
        m.give(left, Shape{static_cast<std::int64_t>(left.size()), 1}, outputs.data());
        return Status::Ok();
      });
  BatchRunner runner = this->runner(model);
  const RowsResult result = run(&runner, server_.task({server_.input({{1, 2, -3, 4}}, {1})}));
  EXPECT_EQ(failed_rows(result), Rows{2});
  EXPECT_EQ(good_values(result), (Floats{1, 2, 4}));
}

TEST_F(BatchRunnerTest, AnOutputWithoutTheBatchIsAnErrorThatNamesIt) {
  auto model = std::make_shared<FakeModel>(
      std::vector<Port>{float_port("x", {kDynamic, 1})}, std::vector<Port>{{"y", DataType::kFloat32, false, {}}},
      [](FakeModel& m, std::span<const ModelInput>, std::span<ModelOutput> outputs) {
        m.give({1, 2, 3}, Shape{3}, outputs.data());
        return Status::Ok();
      });
  BatchRunner runner = this->runner(model);
  const RowsResult result = run(&runner, server_.task({server_.input({{1, 2}}, {1})}));
  ASSERT_EQ(result.failures.size(), 2U);
  EXPECT_EQ(result.failures[0].text,
            "output 0 ('y') of the model came with shape [3]; its first dimension must be the batch, 1 here");
}

}  // namespace
}  // namespace servoir
