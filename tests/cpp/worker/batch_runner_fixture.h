// What the tests of BatchRunner share: a runner of a fake model, and tasks of a server without a scheduler.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "fake_model.h"
#include "lane_fixture.h"
#include "worker/batch_runner.h"

namespace servoir {

using Floats = std::vector<float>;
using Rows = std::vector<std::uint32_t>;

class Rooms final : public RoomSource {
 public:
  explicit Rooms(LaneServer* server) : server_(server) {}
  [[nodiscard]] Result<Room> more_room(std::uint64_t, std::uint64_t bytes) override {
    asked.push_back(bytes);
    if (exhausted) return Status::ResourceExhausted("nothing left");
    const BlockRef block = server_->block(bytes);
    return Room{block->offset(), bytes};
  }
  std::vector<std::uint64_t> asked;
  bool exhausted = false;

 private:
  LaneServer* server_;
};

class BatchRunnerTest : public testing::Test {
 protected:
  BatchRunner runner(std::shared_ptr<FakeModel> model, bool with_batch_dim = true,
                     std::vector<std::uint32_t> unbatched = {}, std::vector<std::uint32_t> unbatched_outputs = {},
                     RoomMarks::Extent marks = RoomMarks::Extent::kEnd) {
    model_ = model;
    auto made = BatchRunner::create(
        {std::move(model), 8, {with_batch_dim, std::move(unbatched), std::move(unbatched_outputs)}, marks},
        &*server_.view);
    EXPECT_TRUE(made.ok()) << made.status().message();
    return std::move(made).value();
  }
  // A model y = x + 1 with this shape of x and y.
  BatchRunner plus_one_runner(Shape shape, bool with_batch_dim = true) {
    return runner(std::make_shared<FakeModel>(std::vector<Port>{float_port("x", shape)},
                                              std::vector<Port>{float_port("y", shape)}, plus_one),
                  with_batch_dim);
  }
  RowsResult run(BatchRunner* runner, const RunTask& task) {
    rooms_.begin(task.head);
    RowsResult result;
    runner->run(task, &rooms_, &result);
    EXPECT_EQ(result.id, task.head.task);
    EXPECT_EQ(result.rows, task.head.rows);
    return result;
  }
  static Rows failed_rows(const RowsResult& result) {
    Rows rows;
    for (const RowsResult::Failure& failure : result.failures) rows.push_back(failure.row);
    return rows;
  }
  // Of the first output, without the rows that failed.
  [[nodiscard]] Floats good_values(const RowsResult& result) const {
    Floats all;
    if (result.outputs.empty()) return all;
    for (const OutputPiece& piece : result.outputs[0]) {
      for (const float value : server_.floats(piece)) all.push_back(value);
    }
    return all;
  }
  std::byte* at(std::uint64_t offset) { return std::move(server_.view->resolve(offset, 1)).value(); }

  LaneServer server_;
  Rooms source_{&server_};
  TaskRooms rooms_{&*server_.view, &source_};
  std::shared_ptr<FakeModel> model_;
};

}  // namespace servoir
