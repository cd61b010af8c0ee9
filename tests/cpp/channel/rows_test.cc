#include "channel/rows.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

OutputPiece floats(std::uint64_t offset, std::uint32_t rows, Shape shape = {2}) {
  OutputPiece piece;
  piece.offset = offset;
  piece.rows = rows;
  piece.dtype = DataType::kFloat32;
  piece.row_shape = shape;
  piece.row_bytes = std::move(shape.byte_size(DataType::kFloat32)).value();
  return piece;
}

std::vector<std::uint32_t> rows_of(const std::vector<OutputPiece>& added) {
  std::vector<OutputPiece> pieces;
  for (const OutputPiece& piece : added) append_piece(piece, &pieces);
  std::vector<std::uint32_t> rows;
  for (const OutputPiece& piece : pieces) rows.push_back(piece.rows);
  return rows;
}

TEST(AppendPiece, RowsThatContinueTheLastPieceJoinIt) {
  using Rows = std::vector<std::uint32_t>;
  EXPECT_EQ(rows_of({floats(64, 2), floats(80, 1), floats(88, 3)}), Rows{6});
  EXPECT_EQ(rows_of({floats(64, 2), floats(88, 1)}), (Rows{2, 1}));          // a gap
  EXPECT_EQ(rows_of({floats(64, 2), floats(64, 1)}), (Rows{2, 1}));          // the same memory again
  EXPECT_EQ(rows_of({floats(64, 2), floats(80, 1, {1, 2})}), (Rows{2, 1}));  // another shape
  OutputPiece failed;
  failed.rows = 1;
  EXPECT_EQ(rows_of({failed, failed, floats(64, 1), failed}), (Rows{2, 1, 1}));
}

}  // namespace
}  // namespace servoir
