#include "memory/payload.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

namespace servoir {
namespace {

class PayloadTest : public testing::Test {
 protected:
  TensorRef tensor(const std::string& text) {
    TensorRef made;
    made.block = std::move(arena_->allocate(text.size() + 16)).value();
    made.offset = made.block->offset() + 16;
    made.bytes = text.size();
    made.dtype = DataType::kBytes;
    std::memcpy(made.data(), text.data(), text.size());
    return made;
  }
  // Everything, in pieces of at most `most` bytes.
  static std::string drain(Payload* payload, std::uint64_t most) {
    std::string out;
    while (!payload->empty()) {
      BlockRef share;
      const std::string_view piece = payload->front(most, &share);
      EXPECT_FALSE(piece.empty());
      EXPECT_LE(piece.size(), most);
      if (piece.empty()) break;
      out += piece;
      payload->consume(piece.size());
    }
    return out;
  }

  std::unique_ptr<Arena> arena_ = std::move(Arena::create(32ULL << 20U)).value();
};

TEST_F(PayloadTest, EmptyHasNothing) {
  Payload payload;
  EXPECT_TRUE(payload.empty());
  EXPECT_EQ(payload.front(10, nullptr), "");
  char out[4];
  EXPECT_EQ(payload.read(out), 0U);
  payload.consume(5);
  EXPECT_EQ(payload.remaining(), 0U);
}

TEST_F(PayloadTest, SmallPiecesAreOneString) {
  Payload payload;
  payload.append("head ");
  payload.append(tensor("small"));
  payload.append(" tail");
  EXPECT_EQ(payload.size(), 15U);
  BlockRef share = std::move(arena_->allocate(1)).value();
  EXPECT_EQ(payload.front(100, &share), "head small tail");
  EXPECT_FALSE(static_cast<bool>(share));
}

TEST_F(PayloadTest, LargeTensorsStayWhereTheyAreUntilConsumed) {
  const std::string large(Payload::kReferenceBytes, 'x');
  Payload payload;
  payload.append("<");
  const std::byte* place = nullptr;
  {
    TensorRef held = tensor(large);
    place = held.data();
    payload.append(held);
  }
  payload.append(">");
  EXPECT_EQ(arena_->usage().blocks, 1U);
  payload.consume(1);
  {
    BlockRef share;
    const std::string_view piece = payload.front(1U << 20U, &share);
    EXPECT_EQ(static_cast<const void*>(piece.data()), place);
    EXPECT_EQ(piece, large);
    EXPECT_TRUE(static_cast<bool>(share));
    payload.consume(large.size() - 1);
    EXPECT_EQ(payload.front(9, nullptr), "x");
    payload.consume(1);
    EXPECT_EQ(arena_->usage().blocks, 1U);  // ours
  }
  EXPECT_EQ(arena_->usage().blocks, 0U);
  EXPECT_EQ(drain(&payload, 10), ">");
}

TEST_F(PayloadTest, TailIsWrittenDirectly) {
  Payload payload;
  payload.reserve(100);
  std::string& tail = payload.tail();
  EXPECT_GE(tail.capacity(), 100U);
  tail += "abc";
  payload.size_changed(3);
  payload.append(tensor(std::string(Payload::kReferenceBytes, 'y')));
  payload.tail() += "def";
  payload.size_changed(3);
  EXPECT_EQ(payload.size(), 6 + Payload::kReferenceBytes);
  EXPECT_EQ(drain(&payload, 4096), "abc" + std::string(Payload::kReferenceBytes, 'y') + "def");
}

TEST_F(PayloadTest, AnUnusedTailIsInNobodysWay) {
  Payload payload;
  payload.tail();
  payload.append(tensor(std::string(Payload::kReferenceBytes, 'z')));
  payload.tail();
  payload.append(TensorRef());
  payload.append(tensor(""));
  payload.append("");
  EXPECT_EQ(drain(&payload, 1000), std::string(Payload::kReferenceBytes, 'z'));
}

TEST_F(PayloadTest, ReadAndFrontMixInAnyOrder) {
  std::mt19937 random(5);
  std::string expected;
  Payload payload;
  for (int i = 0; i < 200; ++i) {
    const std::string piece(random() % (i % 5 == 0 ? 20'000 : 50), static_cast<char>('a' + i % 26));
    if (random() % 2 == 0) {
      payload.append(piece);
    } else {
      payload.append(tensor(piece));
    }
    expected += piece;
  }
  ASSERT_EQ(payload.size(), expected.size());
  std::string got;
  while (!payload.empty()) {
    if (random() % 2 == 0) {
      std::string buffer(1 + random() % 9'000, '\0');
      const std::uint64_t bytes = payload.read(buffer);
      EXPECT_EQ(bytes, std::min<std::uint64_t>(buffer.size(), expected.size() - got.size()));
      got += buffer.substr(0, bytes);
    } else {
      const std::string_view piece = payload.front(1 + random() % 9'000, nullptr);
      got += piece;
      payload.consume(piece.size());
    }
    ASSERT_EQ(payload.remaining(), expected.size() - got.size());
  }
  EXPECT_EQ(got, expected);
}

TEST_F(PayloadTest, ManyStringsDoNotMoveOnceTheyAreLong) {
  Payload payload;
  std::string expected;
  for (int i = 0; i < 20'000; ++i) {
    const std::string piece = std::to_string(i) + ",";
    payload.append(piece);
    expected += piece;
  }
  EXPECT_EQ(drain(&payload, 1U << 20U), expected);
}

TEST_F(PayloadTest, MovedFromIsEmpty) {
  Payload first;
  first.append("some bytes");
  first.append(tensor(std::string(Payload::kReferenceBytes, 'x')));
  first.consume(5);
  Payload second = std::move(first);
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(first.size(), 0U);
  first.append("again");
  EXPECT_EQ(drain(&first, 100), "again");
  EXPECT_EQ(drain(&second, 10000), "bytes" + std::string(Payload::kReferenceBytes, 'x'));
  EXPECT_EQ(arena_->usage().blocks, 0U);
}

TEST_F(PayloadTest, CanBeFilledAgainAfterItWasEmptied) {
  Payload payload;
  payload.append("one");
  EXPECT_EQ(drain(&payload, 2), "one");
  payload.append("two");
  EXPECT_EQ(payload.remaining(), 3U);
  EXPECT_EQ(drain(&payload, 100), "two");
  EXPECT_EQ(payload.size(), 6U);
}

TEST_F(PayloadTest, WhatWaitsCanMoveOutOfALargerBlock) {
  BlockRef batch = std::move(arena_->allocate(4U << 20U)).value();
  std::string expected;
  Payload payload;
  for (std::uint64_t i = 0; i < 8; ++i) {
    TensorRef row{batch, batch->offset() + i * 20'000, 20'000, DataType::kBytes, {}};
    std::memset(row.data(), static_cast<int>('a' + i), row.bytes);
    expected += std::string(row.bytes, static_cast<char>('a' + i));
    payload.append(row);
    payload.append(", ");
    expected += ", ";
  }
  const TensorRef whole = tensor(std::string(100'000, 'w'));
  payload.append(whole);
  expected += std::string(100'000, 'w');
  batch = BlockRef();
  payload.consume(25'000);
  const std::uint64_t before = arena_->usage().in_use;
  payload.move_out();
  EXPECT_LE(arena_->usage().in_use, before - (4U << 20U) + 7 * 24'576 + 8192);
  payload.move_out();
  payload.append(" end");
  EXPECT_EQ(drain(&payload, 7000), expected.substr(25'000) + " end");
}

TEST_F(PayloadTest, WhatFindsNoRoomStaysWhereItIs) {
  BlockRef batch = std::move(arena_->allocate(31U << 20U)).value();
  TensorRef row{batch, batch->offset(), 2U << 20U, DataType::kBytes, {}};
  std::memset(row.data(), 'a', row.bytes);
  batch = BlockRef();
  Payload payload;
  payload.append(row);
  payload.move_out();
  EXPECT_EQ(arena_->usage().blocks, 1U);
  EXPECT_EQ(drain(&payload, 1U << 20U), std::string(2U << 20U, 'a'));
}

}  // namespace
}  // namespace servoir
