#include "net/piece_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

namespace servoir {
namespace {

TEST(PiecePoolTest, GivesAPieceAgain) {
  PiecePool pool;
  void* first = pool.take(100);
  pool.give(first);
  EXPECT_EQ(pool.take(90), first);  // of the same size class
  pool.give(first);
  pool.give(nullptr);
}

TEST(PiecePoolTest, RefusesWhatCannotBe) {
  PiecePool pool;
  EXPECT_EQ(pool.take(std::numeric_limits<std::size_t>::max()), nullptr);
}

TEST(PiecePoolTest, KeepsContentsApart) {
  PiecePool pool;
  std::mt19937 random(3);
  struct Piece {
    unsigned char* data;
    std::size_t bytes;
    unsigned char fill;
  };
  std::vector<Piece> pieces;
  const auto check = [](const Piece& piece) {
    for (std::size_t i = 0; i < piece.bytes; ++i) ASSERT_EQ(piece.data[i], piece.fill);
  };
  for (int i = 0; i < 20'000; ++i) {
    const auto fill = static_cast<unsigned char>(i);
    const std::size_t bytes = random() % 4 == 0 ? random() % 20'000 : random() % 1100;
    if (pieces.size() < 200) {
      auto* data = static_cast<unsigned char*>(pool.take(bytes));
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(data) % 16, 0U);
      std::memset(data, fill, bytes);
      pieces.push_back({data, bytes, fill});
      continue;
    }
    Piece& piece = pieces[random() % pieces.size()];
    check(piece);
    if (random() % 2 == 0) {
      piece.data = static_cast<unsigned char*>(pool.resize(piece.data, bytes));
      piece.bytes = std::min(piece.bytes, bytes);
      check(piece);
      piece.bytes = bytes;
      piece.fill = fill;
      std::memset(piece.data, fill, bytes);
    } else {
      pool.give(piece.data);
      std::swap(piece, pieces.back());
      pieces.pop_back();
    }
  }
  for (const Piece& piece : pieces) pool.give(piece.data);
}

}  // namespace
}  // namespace servoir
