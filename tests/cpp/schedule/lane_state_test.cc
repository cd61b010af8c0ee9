#include "schedule/lane_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "memory/arena.h"

namespace servoir {
namespace {

OutputPiece piece_at(std::uint64_t offset, std::int64_t bytes) {
  OutputPiece piece;
  piece.rows = 1;
  piece.offset = offset;
  piece.row_bytes = static_cast<std::uint64_t>(bytes);
  piece.dtype = DataType::kUint8;
  piece.row_shape = {bytes};
  return piece;
}

TEST(LaneState, AResultIsFoundInAnyOfManyRooms) {
  const std::unique_ptr<Arena> arena = std::move(Arena::create(64U << 20U)).value();
  std::vector<BlockRef> rooms;
  for (int i = 0; i < 2000; ++i) rooms.push_back(arena->allocate(1024).value());
  std::shuffle(rooms.begin(), rooms.end(), std::mt19937(1));
  const std::vector<BlockRef> strangers(rooms.end() - 500, rooms.end());
  rooms.resize(1500);
  RunningTask task;
  for (const BlockRef& room : rooms) add_room(&task, room);
  for (const BlockRef& room : rooms) {
    for (const std::uint64_t from : {0U, 24U}) {
      BlockRef block;
      EXPECT_TRUE(locate(task, piece_at(room->offset() + from, 1000), &block).ok());
      EXPECT_EQ(block, room);
    }
    BlockRef block;
    EXPECT_FALSE(locate(task, piece_at(room->offset() + 25, 1000), &block).ok());
    EXPECT_FALSE(block);
  }
  for (const BlockRef& stranger : strangers) {
    BlockRef block;
    EXPECT_FALSE(locate(task, piece_at(stranger->offset(), 1), &block).ok());
  }
}

TEST(LaneState, AResultOfNoBytesMayLieAtTheEndOfARoom) {
  const std::unique_ptr<Arena> arena = std::move(Arena::create(64U << 20U)).value();
  RunningTask task;
  BlockRef block;
  EXPECT_FALSE(locate(task, piece_at(0, 0), &block).ok());
  const BlockRef room = arena->allocate(1024).value();
  add_room(&task, room);
  EXPECT_TRUE(locate(task, piece_at(room->offset() + 1024, 0), &block).ok());
  EXPECT_EQ(block, room);
  EXPECT_FALSE(locate(task, piece_at(room->offset() + 1025, 0), &block).ok());
}

}  // namespace
}  // namespace servoir
