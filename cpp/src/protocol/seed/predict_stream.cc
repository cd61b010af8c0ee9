// PredictRequest piece by piece: a push parser that knows where in the message it stands.
//
// What is small (an instance, or an entry of a large instance's items) is collected if a piece of the input cuts it,
// and read as a whole. A large entry is taken apart as it comes only in the form that every protobuf library writes:
// key before value, the value last, and in it data (or bytes_val) last. Then nothing that could still come changes
// where the bytes belong. Anything else that is large is held in an arena block and read as a whole when it is there.
//
// Where there is no room for all that the message announces (see ArrivingMessage), a large value, or what is held, is
// received into a block that grows, and rows are reserved for as many bytes as have come.

#include "protocol/seed/predict_stream.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "protocol/arriving_message.h"
#include "protocol/protobuf.h"
#include "protocol/request_builder.h"
#include "protocol/seed/item_head.h"
#include "protocol/seed/predict_tensor.h"

namespace servoir::seed {

using namespace predict_fields;  // NOLINT(google-build-using-namespace)

namespace {

// Instances and entries up to here are collected and read as a whole.
constexpr std::uint64_t kCollectBytes = 65536;

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
  enum class Part : std::uint8_t { kSpec, kInstance, kItem, kMessage };

  Impl(std::uint64_t message_bytes, Scheduler* s, SlabPool* p, MemoryBudget* of)
      : scheduler(s), slabs(p), connection(of), builder(s, p, of), message(message_bytes, p->announced()) {}

  Status feed(std::span<const std::byte> in);
  Status step(std::span<const std::byte>* in);
  Status on_field(std::span<const std::byte>* in);
  Status on_head(const WireHead& head, std::span<const std::byte> head_bytes);
  Status on_item_head(std::span<const std::byte>* in);
  Status on_piece(std::span<const std::byte> bytes);
  Status fill(std::span<const std::byte>* in);
  Status hold(Part what, std::uint64_t bytes);
  Status find_room();
  Status collect(Part what, std::uint64_t bytes);
  Status wanted_reached();
  Status container_reached();

  std::uint64_t& container_left() { return in_instance ? instance_left : message_left; }

  Scheduler* scheduler;
  SlabPool* slabs;
  MemoryBudget* connection;
  RequestBuilder builder;
  State state = State::kField;
  Part collected = Part::kSpec;
  ArrivingMessage message;
  std::uint64_t message_left = message.bytes();  // bytes of the message after the current top-level field
  std::uint64_t instance_left = 0;               // bytes of the large instance after its current field
  bool in_instance = false;
  std::uint64_t wanted = 0;
  std::uint64_t unplaced = 0;  // bytes of `wanted`, at its end, for which there is no room yet
  std::byte* copy_to = nullptr;
  std::vector<std::byte> pending;  // bytes of what is being collected, or of a head, from earlier pieces

  OwnedSpec spec;       // of all that were seen
  bool chosen = false;  // the method is chosen: the first instance has come

  int input = -1;  // of the value that is copied
  TensorFields::Value value;
  std::byte* value_at = nullptr;     // where it belongs, once that is known
  Place held;                        // what is held, or the beginning of a value
  std::uint64_t total = 0;           // of the value or of what is held
  std::shared_ptr<Request> request;  // read from a message that was held
};

Status PredictStream::Impl::feed(std::span<const std::byte> in) {
  SERVOIR_RETURN_IF_ERROR(message.come(in.size()));
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
    if (!spec.fields().seen) {
      // The spec comes after the instances, so the message has to be there before anything can be placed.
      SERVOIR_RETURN_IF_ERROR(hold(Part::kMessage, message_left));
      message_left = 0;
      std::span<const std::byte> rest = head_bytes;
      Status filled = fill(&rest);
      pending.clear();
      return filled;
    }
    const SpecFields& chosen_spec = spec.fields();
    SERVOIR_RETURN_IF_ERROR(builder.method(chosen_spec.name, chosen_spec.version, chosen_spec.method));
    chosen = true;
  }
  const std::uint64_t field_bytes = head.head_bytes + head.body_bytes;
  container_left() -= field_bytes;
  pending.clear();
  if (in_instance) {
    if (head.is(kInstanceOutputBuffers, WireType::kBytes)) return output_buffers_refused(builder);
    if (head.is(kInstanceItems, WireType::kBytes)) {
      if (head.body_bytes <= kCollectBytes) return collect(Part::kItem, head.body_bytes);
      state = State::kItemHead;
      wanted = head.body_bytes;
      return {};
    }
  } else if (head.is(kRequestInstances, WireType::kBytes)) {
    SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
    const std::uint64_t come = message.bytes() - message_left;
    const std::uint64_t least = std::min(message_left, std::max(come, ArrivingMessage::kFreeBytes));
    builder.expect_instances(message_left / field_bytes, message.may_reserve_all() ? message_left : least);
    if (head.body_bytes <= kCollectBytes) return collect(Part::kInstance, head.body_bytes);
    in_instance = true;
    instance_left = head.body_bytes;
    return {};
  } else if (head.is(kRequestSpec, WireType::kBytes)) {
    if (head.body_bytes <= kMaxSpecBytes) return collect(Part::kSpec, head.body_bytes);
    return Status::InvalidArgument("servable_spec has " + std::to_string(head.body_bytes) + " bytes; at most " +
                                   std::to_string(kMaxSpecBytes) + " are accepted");
  }
  state = State::kSkip;
  wanted = head.body_bytes;
  return wanted == 0 ? wanted_reached() : Status();
}

// At the front of a large entry. What is at hand is less than the entry has.
Status PredictStream::Impl::on_item_head(std::span<const std::byte>* in) {
  const std::size_t before = pending.size();
  std::span<const std::byte> at_hand = *in;
  if (before != 0) {
    const auto part = in->first(std::min(kItemHeadBytes - before, in->size()));
    pending.insert(pending.end(), part.begin(), part.end());
    at_hand = pending;
  }
  at_hand = at_hand.first(std::min(at_hand.size(), kItemHeadBytes));
  const EntryHead entry = read_entry_head(at_hand, wanted);
  if (entry.step == HeadStep::kMalformed) return malformed(entry.wrong, "an entry of items", builder);
  HeadStep step = entry.step;
  std::size_t taken = entry.bytes;  // of what is at hand
  TensorHead head;
  input = -1;
  if (step == HeadStep::kFound) {
    input = builder.input(entry.key);
    if (input >= 0) {
      head = read_tensor_head(at_hand.subspan(taken), wanted - taken, kItemHeadBytes - taken);
      if (head.step == HeadStep::kMalformed) {
        return builder.bad_input(input, wire_error(head.wrong, "the Tensor").message());
      }
      step = head.step;
      taken += head.bytes;
      if (step == HeadStep::kFound) {
        SERVOIR_ASSIGN_OR_RETURN(value, head.tensor.check(input, builder));
        // Elements are placed with their lengths before them, so not as they lie here.
        if (value.is_text_array()) step = HeadStep::kHold;
      }
    }
  }

  if (step == HeadStep::kMore) {
    if (before == 0) pending.assign(in->begin(), in->end());
    *in = {};
    return {};
  }
  if (step == HeadStep::kHold) {
    SERVOIR_RETURN_IF_ERROR(hold(Part::kItem, wanted));
    taken = 0;
  } else if (input < 0) {  // nobody wants it
    state = State::kSkip;
    wanted -= taken;
  } else {
    state = State::kCopy;
    total = wanted = value.bytes;
    SERVOIR_RETURN_IF_ERROR(find_room());
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
  const auto part = in->first(static_cast<std::size_t>(std::min<std::uint64_t>(wanted - unplaced, in->size())));
  if (state != State::kSkip) {
    // Bytes that were received in place need not go anywhere (see next_destination()).
    if (copy_to != part.data()) std::memmove(copy_to, part.data(), part.size());
    copy_to += part.size();
  }
  wanted -= part.size();
  *in = in->subspan(part.size());
  if (wanted != unplaced) return {};
  return wanted == 0 ? wanted_reached() : find_room();
}

// Room for a value, or for what is held, of which `wanted` bytes are to come: for all of them if that may be, otherwise
// for as many as have come. What has come moves there.
Status PredictStream::Impl::find_room() {
  const std::uint64_t have = total - wanted;
  // (What is larger than the arena gets its error at once.)
  const std::uint64_t room = total > slabs->arena_limit() ? total : message.room_for(total, have);
  const bool all = room == total;
  Place next;
  if (all && state == State::kCopy) {
    SERVOIR_ASSIGN_OR_RETURN(value_at, builder.tensor(input, value.dtype, value.shape, value.bytes));
    copy_to = value_at;
  } else {
    SERVOIR_ASSIGN_OR_RETURN(next, slabs->alone(room));
    copy_to = next.data;
  }
  if (have != 0) std::memcpy(copy_to, held.data, static_cast<std::size_t>(have));
  copy_to += have;
  held = std::move(next);
  unplaced = total - room;
  return {};
}

Status PredictStream::Impl::wanted_reached() {
  const State was = std::exchange(state, State::kField);
  if (was == State::kCopy) {
    SERVOIR_RETURN_IF_ERROR(check_placed(value, value_at, input, builder));
  } else if (was == State::kHold) {
    const std::span<const std::byte> bytes(held.data, static_cast<std::size_t>(total));
    if (collected == Part::kMessage) {
      PredictSpec failed_spec;
      auto read = read_predict_request(bytes, scheduler, slabs, &failed_spec, connection);
      if (!read.ok()) {
        spec.set({failed_spec.servable, failed_spec.method, failed_spec.version, true});
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

Status PredictStream::Impl::collect(Part what, std::uint64_t bytes) {
  collected = what;
  wanted = bytes;
  state = State::kCollect;
  return bytes == 0 ? on_piece({}) : Status();
}

Status PredictStream::Impl::hold(Part what, std::uint64_t bytes) {
  collected = what;
  total = wanted = bytes;
  state = State::kHold;
  return find_room();
}

// A part that was collected, or that the input had whole.
Status PredictStream::Impl::on_piece(std::span<const std::byte> bytes) {
  state = State::kField;
  Status read;
  switch (collected) {
    case Part::kSpec: {
      SpecFields merged = spec.fields();
      read = merged.merge(bytes);
      if (read.ok() && chosen && merged != spec.fields()) read = spec_changed();
      if (read.ok()) spec.set(merged);
      break;
    }
    case Part::kInstance:
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

PredictStream::PredictStream(std::uint64_t message_bytes, Scheduler* scheduler, SlabPool* slabs,
                             MemoryBudget* connection)
    : impl_(std::make_unique<Impl>(message_bytes, scheduler, slabs, connection)) {}

PredictStream::~PredictStream() = default;

Status PredictStream::feed(std::span<const std::byte> bytes) { return impl_->feed(bytes); }

Result<std::shared_ptr<Request>> PredictStream::finish() {
  Impl& s = *impl_;
  if (s.message.to_come() != 0) {
    return Status::InvalidArgument("the PredictRequest ends " + std::to_string(s.message.to_come()) +
                                   " bytes before its announced length");
  }
  if (s.request != nullptr) return std::move(s.request);
  if (!s.chosen) {
    const SpecFields& spec = s.spec.fields();
    if (!spec.seen) return spec_missing();
    SERVOIR_RETURN_IF_ERROR(s.builder.method(spec.name, spec.version, spec.method));
  }
  return s.builder.finish();
}

std::span<std::byte> PredictStream::next_destination() const {
  const bool known = impl_->state == Impl::State::kCopy || impl_->state == Impl::State::kHold;
  return known ? std::span(impl_->copy_to, static_cast<std::size_t>(impl_->wanted - impl_->unplaced))
               : std::span<std::byte>();
}

PredictSpec PredictStream::spec() const {
  const SpecFields& spec = impl_->spec.fields();
  return {std::string(spec.name), spec.version, std::string(spec.method)};
}

}  // namespace servoir::seed
