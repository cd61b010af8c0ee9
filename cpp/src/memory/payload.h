// Payload: bytes to be sent. Some are the payload's own, others stay in the arena until the socket has taken them.
//
// Small pieces are collected in owned strings. Arena pieces of at least kReferenceBytes are referenced, each with a
// share in its block; smaller pieces are copied. A payload belongs to a single thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/recycled.h"
#include "memory/arena.h"
#include "memory/tensor_ref.h"

namespace servoir {

// Moves bytes that wait long, such as a row of a batch, out of a block that is at least twice as large, into a block of
// their own size, so that they no longer keep the whole block. *bytes lie in *block; both are changed. Without room for
// the new block the bytes stay.
void move_out(BlockRef* block, std::string_view* bytes);

class Payload {
 public:
  static constexpr std::uint64_t kReferenceBytes = 8192;

  Payload() = default;
  Payload(Payload&& other) noexcept { *this = std::move(other); }
  Payload& operator=(Payload&& other) noexcept;  // leaves the other empty
  Payload(const Payload&) = delete;
  Payload& operator=(const Payload&) = delete;
  ~Payload() = default;

  // Bytes appended so far.
  [[nodiscard]] std::uint64_t size() const { return size_; }
  void append(std::string_view bytes);
  void append(const TensorRef& tensor);  // its bytes
  // A hint: so many owned bytes will be appended.
  void reserve(std::uint64_t bytes);
  // The string at the end, to write into directly. The caller then calls size_changed() with the number of bytes added.
  std::string& tail();
  void size_changed(std::uint64_t added) { size_ += added; }

  // Moves up to out.size() bytes from the front into out, for small answers; returns how many.
  std::uint64_t read(std::span<char> out);
  // The next contiguous run at the front, at most `most` bytes, and the share that keeps it alive. If the payload
  // itself owns the bytes the share is null; the payload must then live, and not be appended to, until the bytes are
  // sent. consume() moves past the run.
  [[nodiscard]] std::string_view front(std::uint64_t most, BlockRef* share) const;
  void consume(std::uint64_t bytes);
  // move_out() for all that is left.
  void move_out();
  [[nodiscard]] bool empty() const { return size_ == consumed_; }
  [[nodiscard]] std::uint64_t remaining() const { return size_ - consumed_; }

 private:
  struct Part {
    std::string owned;  // if block is null
    BlockRef block;
    std::string_view in_block;  // if block is not null
  };
  RecycledVector<Part> parts_;
  std::size_t first_ = 0;  // the first of parts_ with bytes left; the parts before it are empty
  std::uint64_t size_ = 0;
  std::uint64_t consumed_ = 0;      // in all
  std::uint64_t front_offset_ = 0;  // in parts_[first_]
};

}  // namespace servoir
