#include "protocol/seed/item_head.h"

#include <algorithm>

namespace servoir::seed {

using namespace predict_fields;  // NOLINT(google-build-using-namespace)

namespace {

// Walks the fields at the front of a message of `message_bytes`, of which no more than `most` will ever be at hand.
class Front {
 public:
  Front(std::span<const std::byte> at_hand, std::uint64_t message_bytes, std::size_t most)
      : at_hand_(at_hand), message_bytes_(message_bytes), most_(most) {}

  // The head of the next field; its body begins at body_at().
  HeadStep next() {
    const std::uint64_t left = message_bytes_ - at_;
    if (left == 0) return HeadStep::kHold;  // the message ends, and what was looked for has not come
    wrong_ = read_head(at_hand_.subspan(at_), left, &head_);
    if (wrong_ == WireStep::kMore) return wait_or_hold();
    if (wrong_ != WireStep::kOk) return HeadStep::kMalformed;
    body_at_ = at_ + head_.head_bytes;
    return HeadStep::kFound;
  }
  // Whether the field's body is at hand as a whole; if so, the next field is the one after it.
  HeadStep pass() {
    const std::uint64_t end = body_at_ + head_.body_bytes;
    if (end > at_hand_.size()) return end <= most_ ? wait_or_hold() : HeadStep::kHold;
    at_ = static_cast<std::size_t>(end);
    return HeadStep::kFound;
  }
  [[nodiscard]] const WireHead& head() const { return head_; }
  [[nodiscard]] WireStep wrong() const { return wrong_; }
  [[nodiscard]] std::size_t body_at() const { return body_at_; }
  // After pass().
  [[nodiscard]] std::span<const std::byte> body() const { return at_hand_.subspan(body_at_, at_ - body_at_); }
  [[nodiscard]] bool is_last() const { return body_at_ + head_.body_bytes == message_bytes_; }

 private:
  [[nodiscard]] HeadStep wait_or_hold() const { return at_hand_.size() < most_ ? HeadStep::kMore : HeadStep::kHold; }

  const std::span<const std::byte> at_hand_;
  const std::uint64_t message_bytes_;
  const std::size_t most_;
  std::size_t at_ = 0;
  std::size_t body_at_ = 0;
  WireHead head_;
  WireStep wrong_ = WireStep::kOk;
};

}  // namespace

EntryHead read_entry_head(std::span<const std::byte> at_hand, std::uint64_t entry_bytes) {
  EntryHead result;
  Front fields(at_hand, entry_bytes, kItemHeadBytes);
  bool has_key = false;
  while (true) {
    result.step = fields.next();
    result.wrong = fields.wrong();
    if (result.step != HeadStep::kFound) return result;
    if (fields.head().is(kItemValue, WireType::kBytes)) {
      if (!has_key || !fields.is_last()) result.step = HeadStep::kHold;
      result.bytes = fields.body_at();
      return result;
    }
    result.step = fields.pass();
    if (result.step != HeadStep::kFound) return result;
    if (fields.head().is(kItemKey, WireType::kBytes)) {
      const std::span<const std::byte> body = fields.body();
      result.key = {reinterpret_cast<const char*>(body.data()), body.size()};
      has_key = true;
    }
  }
}

TensorHead read_tensor_head(std::span<const std::byte> at_hand, std::uint64_t tensor_bytes, std::size_t most) {
  TensorHead result;
  Front fields(at_hand, tensor_bytes, most);
  while (true) {
    result.step = fields.next();
    result.wrong = fields.wrong();
    if (result.step != HeadStep::kFound) return result;
    const WireHead& head = fields.head();
    if (fields.is_last() && (head.is(kTensorData, WireType::kBytes) || head.is(kTensorBytesVal, WireType::kBytes))) {
      result.wrong = result.tensor.add(head, {});
      result.bytes = fields.body_at();
      return result;
    }
    result.step = fields.pass();
    if (result.step != HeadStep::kFound) return result;
    result.wrong = result.tensor.add(head, fields.body());
    if (result.wrong != WireStep::kOk) {
      result.step = HeadStep::kMalformed;
      return result;
    }
  }
}

}  // namespace servoir::seed
