#include "memory/payload.h"

#include <algorithm>
#include <cstring>

namespace servoir {
namespace {

// A string of this length is not grown any more, so that a long answer is never copied as a whole.
constexpr std::size_t kOwnedBytes = 65536;

}  // namespace

void move_out(BlockRef* block, std::string_view* bytes) {
  if (bytes->size() > (*block)->size() / 2) return;
  Result<BlockRef> own = (*block)->arena()->allocate(bytes->size());
  if (!own.ok()) return;
  std::memcpy((*own)->data(), bytes->data(), bytes->size());
  *bytes = {reinterpret_cast<const char*>((*own)->data()), bytes->size()};
  *block = std::move(own).value();
}

Payload& Payload::operator=(Payload&& other) noexcept {
  if (this == &other) return *this;
  parts_ = std::move(other.parts_);
  other.parts_.clear();
  first_ = std::exchange(other.first_, 0);
  size_ = std::exchange(other.size_, 0);
  consumed_ = std::exchange(other.consumed_, 0);
  front_offset_ = std::exchange(other.front_offset_, 0);
  return *this;
}

std::string& Payload::tail() {
  if (parts_.empty() || parts_.back().block) {
    parts_.emplace_back();
  } else if (const std::string& last = parts_.back().owned;
             last.size() >= kOwnedBytes && last.capacity() - last.size() < kOwnedBytes / 16) {
    parts_.emplace_back();
  }
  return parts_.back().owned;
}

void Payload::append(std::string_view bytes) {
  if (bytes.empty()) return;
  tail().append(bytes);
  size_ += bytes.size();
}

void Payload::append(const TensorRef& tensor) {
  if (!tensor.block || tensor.bytes == 0) return;
  const std::string_view bytes(reinterpret_cast<const char*>(tensor.data()), tensor.bytes);
  if (bytes.size() < kReferenceBytes) return append(bytes);
  // front() relies on it that only the last part may be empty.
  if (!parts_.empty() && !parts_.back().block && parts_.back().owned.empty()) parts_.pop_back();
  parts_.push_back(Part{{}, tensor.block, bytes});
  size_ += bytes.size();
}

void Payload::reserve(std::uint64_t bytes) {
  std::string& last = tail();
  last.reserve(last.size() + bytes);
}

std::uint64_t Payload::read(std::span<char> out) {
  std::uint64_t copied = 0;
  while (copied < out.size()) {
    const std::string_view piece = front(out.size() - copied, nullptr);
    if (piece.empty()) break;
    std::memcpy(out.data() + copied, piece.data(), piece.size());
    copied += piece.size();
    consume(piece.size());
  }
  return copied;
}

std::string_view Payload::front(std::uint64_t most, BlockRef* share) const {
  if (share != nullptr) *share = BlockRef();
  if (first_ == parts_.size()) return {};
  const Part& part = parts_[first_];
  const std::string_view bytes = part.block ? part.in_block : std::string_view(part.owned);
  if (share != nullptr) *share = part.block;
  return bytes.substr(front_offset_, most);
}

void Payload::consume(std::uint64_t bytes) {
  while (bytes > 0 && first_ < parts_.size()) {
    Part& part = parts_[first_];
    const std::uint64_t part_bytes = part.block ? part.in_block.size() : part.owned.size();
    const std::uint64_t step = std::min(bytes, part_bytes - front_offset_);
    bytes -= step;
    consumed_ += step;
    front_offset_ += step;
    if (front_offset_ < part_bytes) return;
    front_offset_ = 0;
    if (++first_ == parts_.size()) {
      parts_.clear();
      first_ = 0;
    } else {
      part = Part();  // the memory and the share go now, not with the payload
    }
  }
}

void Payload::move_out() {
  for (std::size_t i = first_; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    if (!part.block) continue;
    if (i == first_) {  // a part of it is sent already
      part.in_block.remove_prefix(front_offset_);
      front_offset_ = 0;
    }
    servoir::move_out(&part.block, &part.in_block);
  }
}

}  // namespace servoir
