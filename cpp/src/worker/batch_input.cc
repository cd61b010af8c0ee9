#include "worker/batch_input.h"

#include <cstdlib>
#include <cstring>

#include "base/checked.h"

namespace servoir {

void Scratch::Free::operator()(std::byte* p) const { std::free(p); }

std::byte* Scratch::at_least(std::uint64_t bytes) {
  if (bytes > size_ || memory_ == nullptr) {
    const std::uint64_t size = round_up(bytes + bytes / 4 + 1, kBlockAlign);
    memory_.reset();
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kBlockAlign, size)));
    size_ = memory_ != nullptr ? size : 0;
  }
  return memory_.get();
}

Result<std::byte*> BatchInput::rows(const ArenaView& arena, const RunTask::Input& input, std::uint64_t row_bytes,
                                    std::uint32_t first, std::uint32_t count, std::uint32_t total) {
  std::uint64_t bytes = 0;
  if (!checked_mul(row_bytes, total, &bytes)) return Status::Internal("a batch that is too large to be addressed");

  // As far as the wanted rows are contiguous, they are one run.
  std::byte* run = nullptr;       // of the rows seen so far, while they are one run
  std::byte* gathered = nullptr;  // set once they are not
  std::uint64_t done = 0;
  std::uint64_t skip = first;
  for (const RowRun& piece : input.pieces) {
    if (done == count) break;
    if (skip >= piece.rows) {
      skip -= piece.rows;
      continue;
    }
    const std::uint64_t here = std::min<std::uint64_t>(piece.rows - skip, count - done);
    std::uint64_t start = 0;
    std::uint64_t extent = 0;
    if (!checked_mul(skip, piece.row_bytes, &start) || !checked_add(start, piece.offset, &start) ||
        !checked_mul(here - 1, piece.row_bytes, &extent) || !checked_add(extent, row_bytes, &extent)) {
      return Status::Internal("a piece of a batch that is too large to be addressed");
    }
    SERVOIR_ASSIGN_OR_RETURN(std::byte* const data, arena.resolve(start, extent));
    skip = 0;
    const bool packed = here == 1 || piece.row_bytes == row_bytes;
    const bool continues = gathered == nullptr && packed && (done == 0 || data == run + done * row_bytes);
    if (continues && total == count) {
      if (done == 0) run = data;
    } else {
      if (gathered == nullptr) {
        gathered = scratch_.at_least(bytes);
        if (gathered == nullptr) return Status::ResourceExhausted("no memory to gather a batch of inputs");
        if (done != 0) std::memcpy(gathered, run, done * row_bytes);
      }
      std::byte* to = gathered + done * row_bytes;
      if (packed) {
        std::memcpy(to, data, here * row_bytes);
      } else {
        for (std::uint64_t i = 0; i < here; ++i) std::memcpy(to + i * row_bytes, data + i * piece.row_bytes, row_bytes);
      }
    }
    done += here;
  }
  if (done != count) return Status::Internal("an input with fewer rows than its batch");
  if (gathered == nullptr) return run;
  for (std::uint64_t i = count; i < total; ++i) std::memcpy(gathered + i * row_bytes, gathered, row_bytes);
  return gathered;
}

}  // namespace servoir
