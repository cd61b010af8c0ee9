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
#include "protocol/protobuf.h"
#include "protocol/request_builder.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir::seed {

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
// A servable_spec that has its names for itself.
class OwnedSpec {
 public:
  // `fields` may point into this object.
  void set(const SpecFields& fields);
  [[nodiscard]] const SpecFields& fields() const { return fields_; }

 private:
  std::string names_;
  SpecFields fields_;
};
// The error of a spec after the instances that differs from the spec before them, which has already chosen the method.
[[nodiscard]] Status spec_changed();
// The error of a message without a servable_spec.
[[nodiscard]] Status spec_missing();

// A Tensor as far as its fields have been seen. The value is where the bytes of data or of the last bytes_val lie;
// check() needs only the lengths. An array of texts has a bytes_val for each element.
struct TensorFields {
  std::array<std::int64_t, kMaxRank> dims{};
  std::uint64_t rank = 0;  // as in the message, perhaps more than kMaxRank
  std::uint32_t dtype = 0;
  bool has_shm_data = false;
  std::uint64_t data_bytes = 0;
  std::uint64_t text_count = 0;  // of bytes_val
  std::uint64_t text_bytes = 0;  // of all of them
  std::span<const std::byte> data;
  std::span<const std::byte> text;

  // Takes in one field. The body of data or bytes_val may be empty if it has not come yet.
  [[nodiscard]] WireStep add(const WireHead& head, std::span<const std::byte> body);
  // Takes in a whole Tensor.
  [[nodiscard]] WireStep merge(std::span<const std::byte> message);

  // The tensor, checked; `bytes` is the length of its value.
  struct Value {
    Shape shape;
    std::uint64_t bytes = 0;
    DataType dtype = DataType::kUnknown;
    [[nodiscard]] bool is_text_array() const { return is_text(dtype) && shape.rank != 0; }
  };
  [[nodiscard]] Result<Value> check(int input, const RequestBuilder& builder) const;
};

// Checks the texts of a value; to be called once all of its bytes are in their place.
[[nodiscard]] Status check_placed(const TensorFields::Value& value, const std::byte* data, int input,
                                  const RequestBuilder& builder);

// Read a whole entry of Instance.items, or a whole Instance, into the instance that the builder has begun.
// read_instance() also ends it.
[[nodiscard]] Status read_item(std::span<const std::byte> message, RequestBuilder* builder);
[[nodiscard]] Status read_instance(std::span<const std::byte> message, RequestBuilder* builder);
// The error of an Instance with output_buffers, which were internal to the predecessor's own processes.
[[nodiscard]] Status output_buffers_refused(const RequestBuilder& builder);
// The error of bytes that are not a message, within the current instance.
[[nodiscard]] Status malformed(WireStep step, std::string_view what, const RequestBuilder& builder);

}  // namespace servoir::seed
