// BatchInput: the rows of one input of a task as the one tensor that a model takes.
//
// Contiguous rows are used where they are; others are gathered into a buffer, which is kept for the
// next batch. Belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/status.h"
#include "channel/message.h"
#include "memory/arena_view.h"

namespace servoir {

// A buffer aligned to kBlockAlign that only grows; its contents do not survive growth.
class Scratch {
 public:
  std::byte* at_least(std::uint64_t bytes);

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::uint64_t size_ = 0;
};

class BatchInput {
 public:
  // `count` rows of `row_bytes` bytes each from row `first` on, followed by copies of the first of them up to `total`
  // rows. The memory is valid until the task is answered or the next call.
  [[nodiscard]] Result<std::byte*> rows(const ArenaView& arena, const RunTask::Input& input, std::uint64_t row_bytes,
                                        std::uint32_t first, std::uint32_t count, std::uint32_t total);

 private:
  Scratch scratch_;
};

}  // namespace servoir
