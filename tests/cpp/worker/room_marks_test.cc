#include "worker/room_marks.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

using Which = RoomMarks::Which;
using Extent = RoomMarks::Extent;
using Bytes = std::vector<std::byte>;

TEST(RoomMarks, AMarkIsFoundUntilItIsOverwritten) {
  for (const Extent extent : {Extent::kEnd, Extent::kWhole}) {
    const RoomMarks marks(extent);
    for (const Which which : {Which::kFirst, Which::kSecond}) {
      for (const std::size_t size : {1U, 4U, 15U, 16U, 17U, 1000U}) {
        Bytes room(size);
        EXPECT_FALSE(marks.is_left(which, room.data(), size, size));
        marks.put(which, room.data(), size);
        EXPECT_TRUE(marks.is_left(which, room.data(), size, size));
        std::fill(room.begin(), room.end(), std::byte{7});
        EXPECT_FALSE(marks.is_left(which, room.data(), size, size));
      }
    }
  }
}

TEST(RoomMarks, ARoomWithoutBytesIsNeverUnwritten) {
  for (const Extent extent : {Extent::kEnd, Extent::kWhole}) {
    const RoomMarks marks(extent);
    marks.put(Which::kFirst, nullptr, 0);
    EXPECT_FALSE(marks.is_left(Which::kFirst, nullptr, 0, 0));
  }
}

TEST(RoomMarks, NothingLooksLikeBothMarks) {
  const RoomMarks marks(Extent::kWhole);
  Bytes room(64);
  marks.put(Which::kFirst, room.data(), room.size());
  EXPECT_FALSE(marks.is_left(Which::kSecond, room.data(), room.size(), room.size()));
}

TEST(RoomMarks, AnyPartThatIsLeftIsFoundWhenAllIsMarked) {
  const RoomMarks marks(Extent::kWhole);
  for (std::size_t hole = 0; hole < 96; hole += 16) {
    Bytes room(100);
    marks.put(Which::kFirst, room.data(), room.size());
    for (std::size_t i = 0; i < room.size(); ++i) {
      if (i < hole || i >= hole + 16) room[i] = std::byte{1};
    }
    EXPECT_TRUE(marks.is_left(Which::kFirst, room.data(), room.size(), room.size())) << hole;
  }
}

TEST(RoomMarks, AResultThatIsSmallerThanItsRoomIsNotJudgedByTheRoomsEnd) {
  const RoomMarks marks(Extent::kEnd);
  Bytes room(64);
  marks.put(Which::kFirst, room.data(), room.size());
  EXPECT_FALSE(marks.is_left(Which::kFirst, room.data(), room.size(), 32));
  const RoomMarks whole(Extent::kWhole);
  whole.put(Which::kFirst, room.data(), room.size());
  EXPECT_TRUE(whole.is_left(Which::kFirst, room.data(), room.size(), 32));
  std::fill_n(room.begin(), 32, std::byte{1});
  EXPECT_FALSE(whole.is_left(Which::kFirst, room.data(), room.size(), 32));
}

}  // namespace
}  // namespace servoir
