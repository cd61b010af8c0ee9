// The parts of a PredictRequest that both of its readers share: the servable_spec, and one tensor with its checks.
//
// Plain values that point into the message; belong to the reader's thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "protocol/request_builder.h"
#include "protocol/wire.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir {

namespace predict_fields {
inline constexpr std::uint32_t kRequestSpec = 1;
inline constexpr std::uint32_t kRequestInstances = 2;
inline constexpr std::uint32_t kReplySpec = 1;
inline constexpr std::uint32_t kReplyInstances = 3;
inline constexpr std::uint32_t kReplyErrors = 4;
inline constexpr std::uint32_t kSpecName = 1;
inline constexpr std::uint32_t kSpecMethod = 2;
inline constexpr std::uint32_t kSpecVersion = 3;
inline constexpr std::uint32_t kInstanceItems = 1;
inline constexpr std::uint32_t kInstanceOutputBuffers = 2;
inline constexpr std::uint32_t kItemKey = 1;
inline constexpr std::uint32_t kItemValue = 2;
inline constexpr std::uint32_t kTensorShape = 1;
inline constexpr std::uint32_t kTensorDtype = 2;
inline constexpr std::uint32_t kTensorData = 3;
inline constexpr std::uint32_t kTensorBytesVal = 4;
inline constexpr std::uint32_t kTensorShmData = 5;
inline constexpr std::uint32_t kShapeDims = 1;
inline constexpr std::uint32_t kErrorCode = 1;
inline constexpr std::uint32_t kErrorText = 2;
}  // namespace predict_fields

// A servable_spec longer than this is refused: names are short.
inline constexpr std::uint64_t kMaxSpecBytes = 65536;

// A servable_spec; several of them in one message merge into one.
struct SpecFields {
  std::string_view name;
  std::string_view method;
  std::uint64_t version = 0;
  bool seen = false;
  [[nodiscard]] Status merge(std::span<const std::byte> message);
  bool operator==(const SpecFields&) const = default;
};
// For a spec behind the instances that differs from the one before them, which has already chosen the method.
[[nodiscard]] Status spec_changed();
// For a message without any.
[[nodiscard]] Status spec_missing();

// A Tensor as far as its fields have been seen. The value is where the bytes of data or of the last bytes_val lie;
// place() needs only its length.
struct TensorFields {
  std::array<std::int64_t, kMaxRank> dims{};
  std::uint64_t rank = 0;  // as in the message, perhaps more than kMaxRank
  std::uint32_t dtype = 0;
  bool has_shm_data = false;
  std::uint64_t data_bytes = 0;
  std::uint64_t text_count = 0;  // of bytes_val
  std::uint64_t text_bytes = 0;  // of the last
  std::span<const std::byte> data;
  std::span<const std::byte> text;

  // Takes in one field; those of data and bytes_val may have a body that is not there yet (an empty one).
  [[nodiscard]] WireStep add(const WireHead& head, std::span<const std::byte> body);
  // Takes in a whole Tensor.
  [[nodiscard]] WireStep merge(std::span<const std::byte> message);

  // Checks the tensor and reserves its place; `bytes` is the length of its value.
  struct Placed {
    std::byte* data = nullptr;
    std::uint64_t bytes = 0;
    DataType dtype = DataType::kUnknown;
  };
  [[nodiscard]] Result<Placed> place(int input, RequestBuilder* builder) const;
};

// To be called once all bytes of a value are in their place: a string must be UTF-8.
[[nodiscard]] Status check_placed(const TensorFields::Placed& placed, int input, const RequestBuilder& builder);

// One entry of Instance.items, and one Instance, whole, into the instance that the builder has begun; the latter ends
// it.
[[nodiscard]] Status read_item(std::span<const std::byte> message, RequestBuilder* builder);
[[nodiscard]] Status read_instance(std::span<const std::byte> message, RequestBuilder* builder);
// For an Instance with output_buffers, which were internal to the predecessor's own processes.
[[nodiscard]] Status output_buffers_refused(const RequestBuilder& builder);
// For bytes that are no message, within the current instance.
[[nodiscard]] Status malformed(WireStep step, std::string_view what, const RequestBuilder& builder);

}  // namespace servoir
