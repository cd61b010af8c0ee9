// Models of texts: the batch that such a model gets, and the rows of what it gives.

#include "worker/text_rows.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "fake_model.h"
#include "lane_fixture.h"
#include "tensor/text_array.h"
#include "worker/batch_runner.h"

namespace servoir {
namespace {

using Texts = std::vector<std::string>;

std::string array(const Texts& elements) {
  std::string bytes;
  for (const std::string& element : elements) append_text(element, &bytes);
  return bytes;
}

class NoMoreRooms final : public RoomSource {
 public:
  [[nodiscard]] Result<Room> more_room(std::uint64_t, std::uint64_t) override {
    return Status::ResourceExhausted("nothing left");
  }
};

class TextRows : public testing::Test {
 protected:
  // A model that gives what `answer` says, and notes the last batch.
  BatchRunner runner(const Shape& input, const Shape& output, Batching batching = {}) {
    auto model = std::make_shared<FakeModel>(
        std::vector<Port>{{"x", DataType::kString, true, input}},
        std::vector<Port>{{"y", DataType::kBytes, true, output}},
        [this](FakeModel&, std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) {
          seen_ = {reinterpret_cast<const char*>(inputs[0].data), inputs[0].bytes};
          shape_ = inputs[0].shape;
          if (answer_.empty()) answer_ = seen_;
          outputs[0].data = reinterpret_cast<std::byte*>(answer_.data());
          outputs[0].bytes = answer_.size();
          outputs[0].dtype = DataType::kBytes;
          outputs[0].shape = answer_shape_.value_or(inputs[0].shape);
          return Status::Ok();
        });
    auto made = BatchRunner::create({std::move(model), 8, std::move(batching)}, &*server_.view);
    EXPECT_TRUE(made.ok()) << made.status().message();
    return std::move(made).value();
  }
  // A row a piece.
  RunTask task(const Texts& rows, const Shape& row_shape) {
    RunTask::Input input;
    input.dtype = DataType::kString;
    input.row_shape = row_shape;
    for (const std::string& row : rows) {
      const BlockRef block = server_.block(row.size() + 1);
      std::memcpy(block->data(), row.data(), row.size());
      input.pieces.push_back({block->offset(), row.size(), 1});
    }
    return server_.task({input});
  }
  Texts run(BatchRunner* runner, const RunTask& task) {
    rooms_.begin(task.head);
    result_ = RowsResult();
    runner->run(task, &rooms_, &result_);
    Texts rows;
    if (result_.outputs.empty()) return rows;
    for (const OutputPiece& piece : result_.outputs[0]) {
      for (std::uint32_t i = 0; i < piece.rows; ++i) {
        const std::byte* const row = server_.arena->base() + piece.offset + i * piece.row_bytes;
        rows.emplace_back(reinterpret_cast<const char*>(row), piece.row_bytes);
      }
    }
    return rows;
  }
  std::string failure() {
    EXPECT_FALSE(result_.failures.empty());
    return result_.failures.empty() ? "" : result_.failures[0].text;
  }

  LaneServer server_;
  NoMoreRooms source_;
  TaskRooms rooms_{&*server_.view, &source_};
  RowsResult result_;
  std::string seen_;
  Shape shape_;
  std::string answer_;
  std::optional<Shape> answer_shape_;
};

TEST_F(TextRows, SingleTextsAreTheElementsOfABatch) {
  BatchRunner runner = this->runner({kDynamic}, {kDynamic});
  EXPECT_EQ(run(&runner, task({"a", "", "bcd"}, {})), (Texts{"a", "", "bcd"}));
  EXPECT_EQ(shape_, Shape({3}));
  EXPECT_EQ(seen_, array({"a", "", "bcd"}));
  EXPECT_EQ(result_.outputs[0][0].dtype, DataType::kBytes);
  EXPECT_EQ(result_.outputs[0][0].row_shape, Shape());
}

TEST_F(TextRows, ArraysAreTheRowsOfABatch) {
  BatchRunner runner = this->runner({kDynamic, 2}, {kDynamic, 2});
  const Texts rows = {array({"a", "bc"}), array({"", "d"})};
  EXPECT_EQ(run(&runner, task(rows, {2})), rows);
  EXPECT_EQ(shape_, Shape({2, 2}));
  EXPECT_EQ(seen_, rows[0] + rows[1]);
  EXPECT_EQ(result_.outputs[0][0].row_shape, Shape({2}));
}

TEST_F(TextRows, ASingleTextIsTheOneElementOfARow) {
  BatchRunner runner = this->runner({kDynamic, 1}, {kDynamic, 1});
  EXPECT_EQ(run(&runner, task({"a", "bc"}, {})), (Texts{array({"a"}), array({"bc"})}));
  EXPECT_EQ(shape_, Shape({2, 1}));
}

TEST_F(TextRows, AShortBatchIsFilledUpWithItsFirstRow) {
  BatchRunner runner = this->runner({4, 2}, {4, 2});
  const Texts rows = {array({"a", "bc"}), array({"", "d"}), array({"e", "f"})};
  EXPECT_EQ(run(&runner, task(rows, {2})), rows);
  EXPECT_EQ(seen_, rows[0] + rows[1] + rows[2] + rows[0]);
}

TEST_F(TextRows, AnOutputWithoutBatchDimensionIsGivenWhole) {
  BatchRunner runner = this->runner({kDynamic}, {2}, {true, {}, {0}});
  answer_ = array({"x", "yz"});
  answer_shape_ = Shape{2};
  EXPECT_EQ(run(&runner, task({"a", "b", "c"}, {})), (Texts{answer_, answer_, answer_}));
  EXPECT_EQ(result_.outputs[0][0].row_shape, Shape({2}));
}

TEST_F(TextRows, AModelWithoutBatchDimensionGetsEachInstanceAsItIs) {
  BatchRunner runner = this->runner({}, {}, {false, {}, {}});
  EXPECT_EQ(run(&runner, task({"abc"}, {})), (Texts{"abc"}));
  EXPECT_EQ(seen_, "abc");
  EXPECT_EQ(shape_, Shape());
}

TEST_F(TextRows, AnOutputThatIsNotWholeIsAnError) {
  BatchRunner runner = this->runner({kDynamic}, {kDynamic});
  answer_ =
      "\xff\xff\xff\xff"
      "abc";
  EXPECT_EQ(run(&runner, task({"a"}, {})), Texts());
  EXPECT_NE(failure().find("an output of texts: the array of shape [1] has 1 elements, but element 0 is not whole"),
            std::string::npos)
      << failure();
  answer_ = array({"a", "b", "c"});
  answer_shape_ = Shape{3};
  EXPECT_EQ(run(&runner, task({"a"}, {})), Texts());
  EXPECT_NE(failure().find("its first dimension must be the batch, 1 here"), std::string::npos) << failure();
}

TEST_F(TextRows, ARowThatIsNotWholeOrDoesNotFitIsAnError) {
  BatchRunner runner = this->runner({kDynamic, 2}, {kDynamic, 2});
  (void)run(&runner, task({array({"a", "b"}), array({"a", "b"}).substr(0, 9)}, {2}));
  EXPECT_NE(failure().find("element 1 is not whole"), std::string::npos) << failure();
  (void)run(&runner, task({array({"a", "b", "c"})}, {3}));
  EXPECT_NE(failure().find("has to be str [2]; given str [3]"), std::string::npos) << failure();
  (void)run(&runner, task({"a"}, {}));
  EXPECT_NE(failure().find("has to be str [2]; given str []"), std::string::npos) << failure();
}

TEST_F(TextRows, RowsOfAValueAreItsParts) {
  const std::string value = array({"a", "bc", "", "d"});
  const auto rows = rows_of_texts(std::as_bytes(std::span(value)), {2, 2}, {2}, 1);
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 1U);
  EXPECT_EQ((*rows)[0].data(), reinterpret_cast<const std::byte*>(value.data()));
  EXPECT_EQ((*rows)[0].size(), array({"a", "bc"}).size());
  EXPECT_EQ(rows_of_texts(std::as_bytes(std::span(value)), {2, 2}, {2}, 3).status().code(), Code::kInternal);
}

}  // namespace
}  // namespace servoir
