// The protobuf wire format: read in place and without trust (every length is checked against what encloses it), and
// written into regions whose size was measured beforehand, so that nothing is built up in between.
//
//   message := field*
//   field   := tag body        tag := varint(number << 3 | wire type)
//   body    := varint                    wire type 0
//            | 8 bytes                   wire type 1
//            | varint(length) bytes      wire type 2
//            | 4 bytes                   wire type 5
//
// Groups (wire types 3 and 4) and varints of more than 10 bytes are refused. There is a reader for each of the two ways
// in which a message comes in: read_head() for the head of a field whose bytes may still be on their way, WireReader
// for a message that has come as a whole. Plain values; any thread may use its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "memory/payload.h"

namespace servoir {

inline constexpr std::size_t kMaxVarintBytes = 10;
inline constexpr std::size_t kMaxHeadBytes = 2 * kMaxVarintBytes;  // tag and length, or tag and value

enum class WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// A field without the bytes of its body (those of a varint belong to the head).
struct WireHead {
  std::uint32_t number = 0;
  WireType type = WireType::kVarint;
  std::uint8_t head_bytes = 0;
  std::uint64_t value = 0;       // of a varint
  std::uint64_t body_bytes = 0;  // that follow the head
  [[nodiscard]] bool is(std::uint32_t n, WireType t) const { return number == n && type == t; }
};

enum class WireStep : std::uint8_t {
  kOk,
  kMore,       // the bytes at hand end before the head does
  kTruncated,  // the head, or the body it announces, passes the end of the enclosing message
  kVarint,     // a varint of more than 10 bytes
  kTag,        // field number 0 or above 2^29 - 1, or a wire type that does not exist (any more)
};

// InvalidArgument for one of the last three; `where` names the message.
[[nodiscard]] Status wire_error(WireStep step, std::string_view where);

namespace wire_detail {
[[nodiscard]] WireStep read_varint_slow(const std::byte* at, const std::byte* end, std::uint64_t* value,
                                        const std::byte** after);
[[nodiscard]] inline WireStep read_varint(const std::byte* at, const std::byte* end, std::uint64_t* value,
                                          const std::byte** after) {
  if (at != end && std::to_integer<std::uint8_t>(*at) < 0x80U) [[likely]] {
    *value = std::to_integer<std::uint8_t>(*at);
    *after = at + 1;
    return WireStep::kOk;
  }
  return read_varint_slow(at, end, value, after);
}
}  // namespace wire_detail

// The head of the field at the front of `at_hand`. `limit`: bytes left in the enclosing message, at least
// at_hand.size(), of which the rest has not come yet.
[[nodiscard]] inline WireStep read_head(std::span<const std::byte> at_hand, std::uint64_t limit, WireHead* head) {
  const std::byte* at = at_hand.data();
  const std::byte* const begin = at;
  const std::byte* const end = at + at_hand.size();
  const bool whole = at_hand.size() == limit;
  std::uint64_t tag = 0;
  WireStep step = wire_detail::read_varint(at, end, &tag, &at);
  if (step != WireStep::kOk) return step == WireStep::kMore && whole ? WireStep::kTruncated : step;
  if (tag > UINT32_MAX || (tag >> 3U) == 0) return WireStep::kTag;
  head->number = static_cast<std::uint32_t>(tag >> 3U);
  head->type = static_cast<WireType>(tag & 7U);
  switch (head->type) {
    case WireType::kVarint:
    case WireType::kBytes:
      step = wire_detail::read_varint(at, end, &head->value, &at);
      if (step != WireStep::kOk) return step == WireStep::kMore && whole ? WireStep::kTruncated : step;
      head->body_bytes = head->type == WireType::kBytes ? head->value : 0;
      break;
    case WireType::kFixed64:
      head->body_bytes = 8;
      break;
    case WireType::kFixed32:
      head->body_bytes = 4;
      break;
    default:
      return WireStep::kTag;
  }
  head->head_bytes = static_cast<std::uint8_t>(at - begin);
  return head->body_bytes > limit - head->head_bytes ? WireStep::kTruncated : WireStep::kOk;
}

// Walks the fields of a message that has come as a whole.
class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> message) : rest_(message) {}

  // Moves to the next field. False at the end, and if the bytes are not a message; step() tells which.
  [[nodiscard]] bool next() {
    if (rest_.empty()) return false;
    step_ = read_head(rest_, rest_.size(), &head_);
    if (step_ != WireStep::kOk) return false;
    body_ = rest_.subspan(head_.head_bytes, static_cast<std::size_t>(head_.body_bytes));
    rest_ = rest_.subspan(head_.head_bytes + static_cast<std::size_t>(head_.body_bytes));
    return true;
  }
  [[nodiscard]] const WireHead& head() const { return head_; }
  [[nodiscard]] bool is(std::uint32_t number, WireType type) const { return head_.is(number, type); }
  [[nodiscard]] std::span<const std::byte> body() const { return body_; }
  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(body_.data()), body_.size()}; }
  // Bytes after the current field.
  [[nodiscard]] std::span<const std::byte> rest() const { return rest_; }
  [[nodiscard]] WireStep step() const { return step_; }

 private:
  std::span<const std::byte> rest_;
  std::span<const std::byte> body_;
  WireHead head_;
  WireStep step_ = WireStep::kOk;
};

// ---- writing

[[nodiscard]] inline std::uint64_t varint_bytes(std::uint64_t value) {
  return value < 0x80U ? 1 : static_cast<std::uint64_t>(70 - __builtin_clzll(value)) / 7;
}
// Of a field's tag.
[[nodiscard]] inline std::uint64_t tag_bytes(std::uint32_t number) { return varint_bytes(std::uint64_t{number} << 3U); }
// Of a whole field: of `body` bytes with their length before them, or of a number.
[[nodiscard]] inline std::uint64_t delimited_bytes(std::uint32_t number, std::uint64_t body) {
  return tag_bytes(number) + varint_bytes(body) + body;
}
[[nodiscard]] inline std::uint64_t number_bytes(std::uint32_t number, std::uint64_t value) {
  return tag_bytes(number) + varint_bytes(value);
}

// A region at the end of a payload's tail, of a size known beforehand, which is to be filled exactly.
class WireRegion {
 public:
  WireRegion(Payload* out, std::uint64_t bytes) : out_(out), bytes_(bytes) {
    std::string& tail = out->tail();
    const std::size_t before = tail.size();
    tail.resize(before + static_cast<std::size_t>(bytes));
    at_ = tail.data() + before;
  }
  ~WireRegion() { out_->size_changed(bytes_); }
  WireRegion(const WireRegion&) = delete;
  WireRegion& operator=(const WireRegion&) = delete;

  void varint(std::uint64_t value) {
    while (value >= 0x80U) {
      *at_++ = static_cast<char>(value | 0x80U);
      value >>= 7U;
    }
    *at_++ = static_cast<char>(value);
  }
  // Tag and length of a field whose body comes next.
  void head(std::uint32_t number, std::uint64_t body_bytes) {
    tag(number, WireType::kBytes);
    varint(body_bytes);
  }
  // Whole fields.
  void delimited(std::uint32_t number, std::string_view value) {
    head(number, value.size());
    bytes(value.data(), value.size());
  }
  void number(std::uint32_t field, std::uint64_t value) {
    tag(field, WireType::kVarint);
    varint(value);
  }
  void bytes(const void* from, std::uint64_t count) {
    if (count == 0) return;
    std::memcpy(at_, from, static_cast<std::size_t>(count));
    at_ += count;
  }

 private:
  void tag(std::uint32_t number, WireType type) {
    varint(std::uint64_t{number} << 3U | static_cast<std::uint64_t>(type));
  }

  Payload* const out_;
  const std::uint64_t bytes_;
  char* at_ = nullptr;
};

}  // namespace servoir
