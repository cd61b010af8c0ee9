#include "channel/rows.h"

namespace servoir {

void append_piece(const OutputPiece& piece, std::vector<OutputPiece>* pieces) {
  if (!pieces->empty()) {
    OutputPiece& last = pieces->back();
    const bool alike =
        last.dtype == piece.dtype && last.row_bytes == piece.row_bytes && last.row_shape == piece.row_shape;
    if (alike && (piece.dtype == DataType::kUnknown || last.offset + last.rows * last.row_bytes == piece.offset)) {
      last.rows += piece.rows;
      return;
    }
  }
  pieces->push_back(piece);
}

}  // namespace servoir
