// Payload: bytes to be sent, some of its own, some that stay in the arena until the socket has taken them.
//
// Small pieces are collected in owned strings; arena pieces of at least kReferenceBytes are kept as references (one
// share in their block each), smaller ones copied. Belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "memory/arena.h"
#include "memory/tensor_ref.h"

namespace servoir {

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
  // Room for more owned bytes (a hint).
  void reserve(std::uint64_t bytes);
  // The string at the end, to write into directly; call size_changed() with the number of bytes added afterwards.
  std::string& tail();
  void size_changed(std::uint64_t added) { size_ += added; }

  // Copies up to out.size() bytes from the front into out, for small answers; returns how many.
  std::uint64_t read(std::span<char> out);
  // The next contiguous run at the front, at most `most` bytes, and the share that keeps it alive (null when owned by
  // the payload, which then must live, and not be appended to, until the bytes are sent); consume() moves past it.
  [[nodiscard]] std::string_view front(std::uint64_t most, BlockRef* share) const;
  void consume(std::uint64_t bytes);
  [[nodiscard]] bool empty() const { return size_ == consumed_; }
  [[nodiscard]] std::uint64_t remaining() const { return size_ - consumed_; }

 private:
  struct Part {
    std::string owned;  // when block is null
    BlockRef block;
    std::string_view in_block;  // when block is set
  };
  std::vector<Part> parts_;
  std::size_t first_ = 0;  // of parts_ that has bytes left; those before it are empty
  std::uint64_t size_ = 0;
  std::uint64_t consumed_ = 0;      // in all
  std::uint64_t front_offset_ = 0;  // in parts_[first_]
};

}  // namespace servoir
