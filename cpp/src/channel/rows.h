// Rows of an output, or of an input of a call, in as few pieces as possible, as records carry them.
#pragma once

#include <vector>

#include "channel/message.h"

namespace servoir {

// Adds rows at the end. Rows that continue the last piece in memory, and have its dtype and shape, become part of it,
// as do failed rows that follow failed rows.
void append_piece(const OutputPiece& piece, std::vector<OutputPiece>* pieces);

}  // namespace servoir
