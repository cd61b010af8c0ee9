// Finds the place of the value's bytes in a large entry of Instance.items of which only the first bytes have come. That
// is possible if the entry has the form that every protobuf library writes: the key before the value, the value last,
// and in the value data (or bytes_val) last. Then nothing that is still to come can change the place.
//
// Pure functions. What they return points into the bytes at hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "protocol/protobuf.h"
#include "protocol/seed/predict_tensor.h"

namespace servoir::seed {

// Key, shape and dtype of a large entry lie within so many bytes, or it is held until it is whole.
inline constexpr std::size_t kItemHeadBytes = 4096;

enum class HeadStep : std::uint8_t {
  kMore,       // call again when more is at hand
  kHold,       // the entry has another form, or its front is too long
  kFound,      // what was looked for comes next
  kMalformed,  // the bytes are not a message
};

// Up to the value, that is a Tensor.
struct EntryHead {
  HeadStep step = HeadStep::kMore;
  WireStep wrong = WireStep::kOk;  // at kMalformed
  std::string_view key;            // at kFound
  std::size_t bytes = 0;           // at kFound: before the value
};
// `entry_bytes` is the length of the entry; at most that, and at most kItemHeadBytes, are at hand.
[[nodiscard]] EntryHead read_entry_head(std::span<const std::byte> at_hand, std::uint64_t entry_bytes);

// Of a Tensor, up to the bytes of its data or bytes_val.
struct TensorHead {
  HeadStep step = HeadStep::kMore;
  WireStep wrong = WireStep::kOk;  // at kMalformed
  TensorFields tensor;             // at kFound: all of it but the bytes
  std::size_t bytes = 0;           // at kFound: before the bytes
};
// `tensor_bytes` is the length of the Tensor; at most that, and at most `most`, are at hand.
[[nodiscard]] TensorHead read_tensor_head(std::span<const std::byte> at_hand, std::uint64_t tensor_bytes,
                                          std::size_t most);

}  // namespace servoir::seed
