// The server's part for tests of a worker: an arena, a lane, and the records that go through it.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/lane.h"
#include "channel/message.h"
#include "memory/arena.h"
#include "memory/arena_view.h"

namespace servoir {

class LaneServer {
 public:
  LaneServer() {
    arena = std::move(Arena::create(64U << 20U)).value();
    lane = std::move(ServerLane::create()).value();
    view.emplace(std::move(ArenaView::map(arena->fd())).value());
  }

  [[nodiscard]] std::unique_ptr<WorkerLane> worker_end() const {
    return std::move(WorkerLane::attach(UniqueFd(::dup(lane->memory_fd())), UniqueFd(::dup(lane->event_fd())))).value();
  }

  BlockRef block(std::uint64_t bytes) {
    blocks.push_back(std::move(arena->allocate(bytes)).value());
    return blocks.back();
  }
  // Values somewhere in the arena; `pad` floats before them.
  std::uint64_t put(const std::vector<float>& values) {
    const BlockRef place = block(values.size() * sizeof(float) + 1);
    std::memcpy(place->data(), values.data(), values.size() * sizeof(float));
    return place->offset();
  }
  // Rows of `row` floats each, one piece a vector.
  RunTask::Input input(const std::vector<std::vector<float>>& pieces, Shape row) {
    RunTask::Input made;
    made.dtype = DataType::kFloat32;
    made.row_shape = row;
    const std::uint64_t row_bytes = std::move(row.byte_size(DataType::kFloat32)).value();
    for (const auto& values : pieces) {
      made.pieces.push_back({put(values), row_bytes, values.size() * sizeof(float) / row_bytes});
    }
    return made;
  }
  RunTask task(std::vector<RunTask::Input> inputs, std::uint64_t room = 4096) {
    RunTask made;
    made.head.task = ++tasks;
    made.head.inputs = static_cast<std::uint32_t>(inputs.size());
    for (const RowRun& piece : inputs.at(0).pieces) made.head.rows += static_cast<std::uint32_t>(piece.rows);
    made.inputs = std::move(inputs);
    if (room != 0) {
      made.head.room_offset = block(room)->offset();
      made.head.room_bytes = room;
    }
    return made;
  }
  void post(const RunTask& task) {
    MessageWriter writer;
    write_run(task, &writer);
    ASSERT_TRUE(lane->post(writer.bytes()));
  }
  template <typename Head>
  void post_head(const Head& head) {
    MessageWriter writer;
    writer.put(head);
    ASSERT_TRUE(lane->post(writer.bytes()));
  }

  // The next record from the worker, as a copy; empty if none comes within ten seconds.
  std::vector<std::byte> next() {
    for (int i = 0; i < 1000; ++i) {
      auto record = lane->peek();
      EXPECT_TRUE(record.ok()) << record.status().message();
      if (!record.ok()) return {};
      if (record->has_value()) {
        std::vector<std::byte> copy((*record)->begin(), (*record)->end());
        lane->release();
        return copy;
      }
      if (!lane->arm()) continue;
      pollfd waiting{lane->event_fd(), POLLIN, 0};
      ::poll(&waiting, 1, 10);
    }
    return {};
  }
  RowsResult done() {
    const std::vector<std::byte> record = next();
    RowsResult result;
    const auto kind = MessageReader(record).kind();
    EXPECT_TRUE(kind.ok() && *kind == RecordKind::kDone) << "not a done record";
    EXPECT_TRUE(read_rows_result(record, &result).ok());
    return result;
  }
  NeedRoomHead need_room() {
    const std::vector<std::byte> record = next();
    MessageReader reader(record);
    const auto kind = reader.kind();
    EXPECT_TRUE(kind.ok() && *kind == RecordKind::kNeedRoom) << "not a need_room record";
    const auto* head = reader.get<NeedRoomHead>();
    return head != nullptr ? *head : NeedRoomHead{};
  }

  // Read through the server's own mapping: what orders it after the worker's writes is the ring, which a thread checker
  // cannot see across two mappings of one file.
  [[nodiscard]] std::vector<float> floats(const OutputPiece& piece) const {
    std::vector<float> values(piece.row_bytes * piece.rows / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), arena->base() + piece.offset, values.size() * sizeof(float));
    return values;
  }

  std::unique_ptr<Arena> arena;
  std::unique_ptr<ServerLane> lane;
  std::optional<ArenaView> view;
  std::vector<BlockRef> blocks;
  std::uint64_t tasks = 0;

  ~LaneServer() { blocks.clear(); }
  LaneServer(const LaneServer&) = delete;
  LaneServer& operator=(const LaneServer&) = delete;
};

}  // namespace servoir
