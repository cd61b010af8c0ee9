// PredictRequest piece by piece: a push parser that knows where in the message it stands.
//
// What is small (an instance, or an entry of a large instance's items) is collected if a piece of the input cuts it,
// and read as a whole. A large entry is taken apart as it comes only in the form that every protobuf library writes:
// key before value, the value last, and in it data (or bytes_val) last. Then nothing that could still come changes
// where the bytes belong. Anything else that is large is held in an arena block and read as a whole when it is there.

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "protocol/predict.h"
#include "protocol/predict_tensor.h"
#include "protocol/wire.h"

namespace servoir {

using namespace predict_fields;  // NOLINT(google-build-using-namespace)

namespace {

// Instances and entries up to here are collected and read as a whole.
constexpr std::uint64_t kCollectBytes = 65536;
// Key, shape and dtype of a large entry lie within so many bytes, or it is held.
constexpr std::size_t kItemHeadBytes = 4096;
// SlabKey::consumer of held bytes: no stage input has this number.
constexpr std::uint64_t kHoldConsumer = ~std::uint64_t{0};

}  // namespace

struct PredictStream::Impl {
  enum class State : std::uint8_t {
    kField,     // before a field of the message or of a large instance
    kCollect,   // wanted bytes of a spec, instance or entry
    kItemHead,  // at the front of a large entry, wanted bytes in all
    kSkip,      // wanted bytes
    kCopy,      // wanted bytes of a value, to copy_to
    kHold,      // wanted bytes of an entry or of the whole message, to copy_to
  };
  enum class Piece : std::uint8_t { kSpec, kInstance, kItem, kMessage };

  Impl(std::uint64_t message_bytes, Scheduler* s, SlabPool* p)
      : scheduler(s), slabs(p), builder(s, p), unfed(message_bytes), message_left(message_bytes) {}

  Status feed(std::span<const std::byte> in);
  Status step(std::span<const std::byte>* in);
  Status on_field(std::span<const std::byte>* in);
  Status on_head(const WireHead& head, std::span<const std::byte> head_bytes);
  Status on_item_head(std::span<const std::byte>* in);
  Status on_piece(std::span<const std::byte> bytes);
  Status fill(std::span<const std::byte>* in);
  Status hold(Piece what, std::uint64_t bytes);
  Status collect(Piece what, std::uint64_t bytes);
  Status wanted_reached();
  Status container_reached();

  std::uint64_t& container_left() { return in_instance ? instance_left : message_left; }

  Scheduler* scheduler;
  SlabPool* slabs;
  RequestBuilder builder;
  State state = State::kField;
  Piece piece = Piece::kSpec;
  std::uint64_t unfed;              // bytes that feed() may still get
  std::uint64_t message_left;       // bytes of the message behind the current top-level field
  std::uint64_t instance_left = 0;  // bytes of the large instance behind its current field
  bool in_instance = false;
  std::uint64_t wanted = 0;
  std::byte* copy_to = nullptr;
  std::vector<std::byte> pending;  // bytes of what is being collected, or of a head, from earlier pieces

  std::string spec_bytes;  // what `spec` points into, for all specs seen
  SpecFields spec;
  bool chosen = false;  // the method is chosen: the first instance has come

  int input = -1;  // of the value that is copied
  TensorFields::Placed placed;
  Place held;
  std::uint64_t held_bytes = 0;
  std::shared_ptr<Request> request;  // read from a message that was held
};

Status PredictStream::Impl::feed(std::span<const std::byte> in) {
  if (in.size() > unfed) {
    return Status::Internal("a message gets " + std::to_string(in.size()) + " bytes more, " + std::to_string(unfed) +
                            " were announced");
  }
  unfed -= in.size();
  while (!in.empty()) SERVOIR_RETURN_IF_ERROR(step(&in));
  return {};
}

Status PredictStream::Impl::step(std::span<const std::byte>* in) {
  switch (state) {
    case State::kField:
      return on_field(in);
    case State::kItemHead:
      return on_item_head(in);
    case State::kCollect: {
      const auto missing = static_cast<std::size_t>(wanted - pending.size());
      if (pending.empty() && in->size() >= missing) {
        const auto whole = in->first(missing);
        *in = in->subspan(missing);
        return on_piece(whole);
      }
      const auto part = in->first(std::min(missing, in->size()));
      pending.insert(pending.end(), part.begin(), part.end());
      *in = in->subspan(part.size());
      return part.size() == missing ? on_piece(pending) : Status();
    }
    default:
      return fill(in);
  }
}

// The head of a field, perhaps cut in two.
Status PredictStream::Impl::on_field(std::span<const std::byte>* in) {
  WireHead head;
  const std::uint64_t limit = container_left();
  WireStep found = WireStep::kOk;
  std::size_t from_in = 0;
  std::span<const std::byte> at_hand = *in;
  if (pending.empty()) {
    found = read_head(at_hand.first(static_cast<std::size_t>(std::min<std::uint64_t>(at_hand.size(), limit))), limit,
                      &head);
    from_in = head.head_bytes;
  } else {
    const std::size_t before = pending.size();
    const std::uint64_t most = std::min<std::uint64_t>(kMaxHeadBytes, limit);
    const auto part = in->first(static_cast<std::size_t>(std::min<std::uint64_t>(most - before, in->size())));
    pending.insert(pending.end(), part.begin(), part.end());
    at_hand = pending;
    found = read_head(at_hand, limit, &head);
    from_in = head.head_bytes - before;
  }
  if (found == WireStep::kMore) {
    if (pending.empty()) pending.assign(in->begin(), in->end());
    *in = {};
    return {};
  }
  if (found != WireStep::kOk) {
    return in_instance ? malformed(found, "the Instance", builder) : wire_error(found, "the PredictRequest");
  }
  *in = in->subspan(from_in);
  const Status done = on_head(head, at_hand.first(head.head_bytes));
  return done;
}

Status PredictStream::Impl::on_head(const WireHead& head, std::span<const std::byte> head_bytes) {
  if (!in_instance && head.is(kRequestInstances, WireType::kBytes) && !chosen) {
    if (!spec.seen) {
      // The spec comes behind the instances, so the message has to be there before anything can be placed.
      SERVOIR_RETURN_IF_ERROR(hold(Piece::kMessage, message_left));
      std::memcpy(copy_to, head_bytes.data(), head_bytes.size());
      copy_to += head_bytes.size();
      wanted -= head_bytes.size();
      pending.clear();
      message_left = 0;
      return wanted == 0 ? wanted_reached() : Status();
    }
    SERVOIR_RETURN_IF_ERROR(builder.method(spec.name, spec.version, spec.method));
    chosen = true;
  }
  const std::uint64_t field_bytes = head.head_bytes + head.body_bytes;
  container_left() -= field_bytes;
  pending.clear();
  if (in_instance) {
    if (head.is(kInstanceOutputBuffers, WireType::kBytes)) return output_buffers_refused(builder);
    if (head.is(kInstanceItems, WireType::kBytes)) {
      if (head.body_bytes <= kCollectBytes) return collect(Piece::kItem, head.body_bytes);
      state = State::kItemHead;
      wanted = head.body_bytes;
      return {};
    }
  } else if (head.is(kRequestInstances, WireType::kBytes)) {
    SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
    builder.expect_instances(message_left / field_bytes, message_left);
    if (head.body_bytes <= kCollectBytes) return collect(Piece::kInstance, head.body_bytes);
    in_instance = true;
    instance_left = head.body_bytes;
    return {};
  } else if (head.is(kRequestSpec, WireType::kBytes)) {
    if (head.body_bytes <= kMaxSpecBytes) return collect(Piece::kSpec, head.body_bytes);
    return Status::InvalidArgument("servable_spec has " + std::to_string(head.body_bytes) + " bytes; at most " +
                                   std::to_string(kMaxSpecBytes) + " are accepted");
  }
  state = State::kSkip;
  wanted = head.body_bytes;
  return wanted == 0 ? wanted_reached() : Status();
}

// A large entry: key, then the value's head, then its fields up to the one with the bytes.
Status PredictStream::Impl::on_item_head(std::span<const std::byte>* in) {
  const std::size_t before = pending.size();
  std::span<const std::byte> at_hand = *in;
  if (before != 0) {
    const auto part = in->first(std::min(kItemHeadBytes - before, in->size()));
    pending.insert(pending.end(), part.begin(), part.end());
    at_hand = pending;
  }
  at_hand = at_hand.first(std::min(at_hand.size(), kItemHeadBytes));  // less than the entry has
  std::size_t at = 0;                                                 // behind what was read
  std::string_view key;
  bool has_key = false;
  bool in_tensor = false;
  bool regular = true;  // so far; otherwise the entry is held
  bool found = false;
  TensorFields tensor;
  input = -1;
  while (regular && !found) {
    WireHead head;
    const std::uint64_t limit = wanted - at;
    const WireStep got = limit == 0 ? WireStep::kTruncated : read_head(at_hand.subspan(at), limit, &head);
    if (got == WireStep::kMore) {
      if (at_hand.size() < kItemHeadBytes) {  // wait for more
        if (before == 0) pending.assign(in->begin(), in->end());
        *in = {};
        return {};
      }
      regular = false;
      break;
    }
    if (got != WireStep::kOk) {
      if (in_tensor && limit != 0) return builder.bad_input(input, wire_error(got, "the Tensor").message());
      if (limit != 0) return malformed(got, "an entry of items", builder);
      regular = false;
      break;
    }
    const std::uint64_t body_at = at + head.head_bytes;
    const bool last = body_at + head.body_bytes == wanted;
    const bool at_hand_whole = head.body_bytes <= at_hand.size() - body_at;
    if (!in_tensor && head.is(kItemValue, WireType::kBytes)) {
      regular = has_key && last;
      if (!regular) break;
      input = builder.input(key);
      at = body_at;
      if (input < 0) break;  // nobody wants it
      in_tensor = true;
      continue;
    }
    if (in_tensor && last && (head.is(kTensorData, WireType::kBytes) || head.is(kTensorBytesVal, WireType::kBytes))) {
      [[maybe_unused]] const WireStep added = tensor.add(head, {});
      at = body_at;
      found = true;
      break;
    }
    if (!at_hand_whole) {
      if (at_hand.size() < kItemHeadBytes && body_at + head.body_bytes <= kItemHeadBytes) {
        if (before == 0) pending.assign(in->begin(), in->end());
        *in = {};
        return {};
      }
      regular = false;
      break;
    }
    const auto body = at_hand.subspan(static_cast<std::size_t>(body_at), static_cast<std::size_t>(head.body_bytes));
    if (in_tensor) {
      const WireStep added = tensor.add(head, body);
      if (added != WireStep::kOk) return builder.bad_input(input, wire_error(added, "the Tensor").message());
    } else if (head.is(kItemKey, WireType::kBytes)) {
      key = {reinterpret_cast<const char*>(body.data()), body.size()};
      has_key = true;
    }
    at = static_cast<std::size_t>(body_at + head.body_bytes);
  }

  std::size_t taken = at;  // of what is at hand
  if (!regular) {
    SERVOIR_RETURN_IF_ERROR(hold(Piece::kItem, wanted));
    taken = 0;
  } else if (!found) {
    state = State::kSkip;
    wanted -= at;
  } else {
    SERVOIR_ASSIGN_OR_RETURN(placed, tensor.place(input, &builder));
    state = State::kCopy;
    copy_to = placed.data;
    wanted = placed.bytes;
  }
  // What of the head's bytes is already of the value comes first, then the rest of the input.
  if (before != 0) {
    std::vector<std::byte> early = std::move(pending);
    pending.clear();
    *in = in->subspan(early.size() - before);
    std::span<const std::byte> rest = std::span<const std::byte>(early).subspan(taken);
    if (rest.empty()) return wanted == 0 ? wanted_reached() : Status();
    return fill(&rest);
  }
  *in = in->subspan(taken);
  return wanted == 0 ? wanted_reached() : Status();
}

// Bytes to be skipped or copied; the input has at least one.
Status PredictStream::Impl::fill(std::span<const std::byte>* in) {
  const auto part = in->first(static_cast<std::size_t>(std::min<std::uint64_t>(wanted, in->size())));
  if (state != State::kSkip) {
    // Bytes that were received in place need not go anywhere (see place()).
    if (copy_to != part.data()) std::memmove(copy_to, part.data(), part.size());
    copy_to += part.size();
  }
  wanted -= part.size();
  *in = in->subspan(part.size());
  return wanted == 0 ? wanted_reached() : Status();
}

Status PredictStream::Impl::wanted_reached() {
  const State was = std::exchange(state, State::kField);
  if (was == State::kCopy) {
    SERVOIR_RETURN_IF_ERROR(check_placed(placed, input, builder));
  } else if (was == State::kHold) {
    const std::span<const std::byte> bytes(held.data, static_cast<std::size_t>(held_bytes));
    if (piece == Piece::kMessage) {
      PredictSpec failed_spec;
      auto read = read_predict_request(bytes, scheduler, slabs, &failed_spec);
      if (!read.ok()) {
        spec_bytes = failed_spec.servable + failed_spec.method;
        spec.name = std::string_view(spec_bytes).substr(0, failed_spec.servable.size());
        spec.method = std::string_view(spec_bytes).substr(failed_spec.servable.size());
        spec.version = failed_spec.version;
        return read.status();
      }
      request = std::move(read).value();
    } else {
      SERVOIR_RETURN_IF_ERROR(read_item(bytes, &builder));
    }
    held = Place();
  }
  return container_reached();
}

Status PredictStream::Impl::container_reached() {
  if (!in_instance || instance_left != 0) return {};
  in_instance = false;
  return builder.end_instance();
}

Status PredictStream::Impl::collect(Piece what, std::uint64_t bytes) {
  piece = what;
  wanted = bytes;
  state = State::kCollect;
  return bytes == 0 ? on_piece({}) : Status();
}

Status PredictStream::Impl::hold(Piece what, std::uint64_t bytes) {
  piece = what;
  wanted = bytes;
  held_bytes = bytes;
  state = State::kHold;
  SERVOIR_ASSIGN_OR_RETURN(held, slabs->reserve(SlabKey{kHoldConsumer, bytes}, 1, 1));
  slabs->forget(kHoldConsumer);  // a slab of exactly this row size is of no further use
  copy_to = held.data;
  return {};
}

// A piece that was collected, or that the input had whole.
Status PredictStream::Impl::on_piece(std::span<const std::byte> bytes) {
  state = State::kField;
  Status read;
  switch (piece) {
    case Piece::kSpec: {
      // Names of several specs merge, so each must outlive the piece it came in.
      SpecFields merged = spec;
      read = merged.merge(bytes);
      if (read.ok() && chosen && merged != spec) read = spec_changed();
      if (read.ok()) {
        std::string text(merged.name);
        text += merged.method;
        spec_bytes = std::move(text);
        spec = merged;
        spec.name = std::string_view(spec_bytes).substr(0, merged.name.size());
        spec.method = std::string_view(spec_bytes).substr(merged.name.size());
      }
      break;
    }
    case Piece::kInstance:
      read = read_instance(bytes, &builder);
      break;
    default:
      read = read_item(bytes, &builder);
      break;
  }
  pending.clear();
  SERVOIR_RETURN_IF_ERROR(std::move(read));
  return container_reached();
}

PredictStream::PredictStream(std::uint64_t message_bytes, Scheduler* scheduler, SlabPool* slabs)
    : impl_(std::make_unique<Impl>(message_bytes, scheduler, slabs)) {}

PredictStream::~PredictStream() = default;

Status PredictStream::feed(std::span<const std::byte> bytes) { return impl_->feed(bytes); }

Result<std::shared_ptr<Request>> PredictStream::finish() {
  Impl& s = *impl_;
  if (s.unfed != 0) {
    return Status::InvalidArgument("the PredictRequest ends " + std::to_string(s.unfed) +
                                   " bytes before its announced length");
  }
  if (s.request != nullptr) return std::move(s.request);
  if (!s.chosen) {
    if (!s.spec.seen) return spec_missing();
    SERVOIR_RETURN_IF_ERROR(s.builder.method(s.spec.name, s.spec.version, s.spec.method));
  }
  return s.builder.finish();
}

std::span<std::byte> PredictStream::place() const {
  const bool known = impl_->state == Impl::State::kCopy || impl_->state == Impl::State::kHold;
  return known ? std::span(impl_->copy_to, static_cast<std::size_t>(impl_->wanted)) : std::span<std::byte>();
}

PredictSpec PredictStream::spec() const {
  const SpecFields& spec = impl_->spec;
  return {std::string(spec.name), spec.version, std::string(spec.method)};
}

}  // namespace servoir
