#include "net/output_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace servoir {
namespace {

constexpr std::size_t kKeptChunks = 64;

iovec piece_of(std::string_view bytes) { return {const_cast<char*>(bytes.data()), bytes.size()}; }

}  // namespace

std::unique_ptr<Chunk> ChunkPool::take() {
  if (free_.empty()) return std::make_unique_for_overwrite<Chunk>();
  std::unique_ptr<Chunk> chunk = std::move(free_.back());
  free_.pop_back();
  return chunk;
}

void ChunkPool::give(std::unique_ptr<Chunk> chunk) {
  if (free_.size() < kKeptChunks) free_.push_back(std::move(chunk));
}

void OutputQueue::append(std::string_view bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    std::size_t room = 0;
    if (segments_.size() > first_ && segments_.back().chunk) {
      const Segment& last = segments_.back();
      room = static_cast<std::size_t>(last.chunk->data() + kChunkBytes - (last.bytes.data() + last.bytes.size()));
    }
    if (room == 0) {
      Segment segment;
      segment.chunk = pool_->take();
      segment.bytes = {segment.chunk->data(), 0};
      segments_.push_back(std::move(segment));
      room = kChunkBytes;
    }
    std::string_view& filled = segments_.back().bytes;
    const std::size_t n = std::min(room, bytes.size());
    std::memcpy(const_cast<char*>(filled.data()) + filled.size(), bytes.data(), n);
    filled = {filled.data(), filled.size() + n};
    bytes.remove_prefix(n);
  }
}

void OutputQueue::append(std::string_view bytes, BlockRef share) {
  if (bytes.empty()) return;
  size_ += bytes.size();
  Segment segment;
  segment.bytes = bytes;
  segment.block = std::move(share);
  segments_.push_back(std::move(segment));
}

void OutputQueue::append(Payload payload) {
  if (payload.empty()) return;
  size_ += payload.remaining();
  Segment segment;
  segment.payload = std::make_unique<Payload>(std::move(payload));
  segments_.push_back(std::move(segment));
}

std::size_t OutputQueue::left_in(const Segment& segment) const {
  return segment.payload ? segment.payload->remaining() : segment.bytes.size();
}

std::size_t OutputQueue::gather(iovec* pieces, std::size_t most) const {
  std::size_t n = 0;
  for (std::size_t i = first_; i < segments_.size() && n < most; ++i) {
    const Segment& segment = segments_[i];
    if (!segment.payload) {
      pieces[n++] = piece_of(segment.bytes);
      continue;
    }
    // A payload shows one run at a time; what follows it has to wait until that has been sent.
    const std::string_view run = segment.payload->front(segment.payload->remaining(), nullptr);
    pieces[n++] = piece_of(run);
    if (run.size() < segment.payload->remaining()) break;
  }
  return n;
}

void OutputQueue::consume(std::size_t bytes) {
  size_ -= bytes;
  while (bytes > 0) {
    Segment& segment = segments_[first_];
    const std::size_t n = std::min(bytes, left_in(segment));
    bytes -= n;
    if (n < left_in(segment)) {
      if (segment.payload) {
        segment.payload->consume(n);
      } else {
        segment.bytes.remove_prefix(n);
      }
      break;
    }
    if (segment.chunk) pool_->give(std::move(segment.chunk));
    segment = Segment{};
    ++first_;
  }
  if (size_ == 0) {
    segments_.clear();
    first_ = 0;
  } else if (first_ >= 64 && first_ * 2 >= segments_.size()) {
    segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void OutputQueue::move_out() {
  for (std::size_t i = first_; i < segments_.size(); ++i) {
    Segment& segment = segments_[i];
    if (segment.block) servoir::move_out(&segment.block, &segment.bytes);
    if (segment.payload) segment.payload->move_out();
  }
}

void OutputQueue::clear() {
  for (Segment& segment : segments_) {
    if (segment.chunk) pool_->give(std::move(segment.chunk));
  }
  segments_.clear();
  first_ = 0;
  size_ = 0;
}

}  // namespace servoir
