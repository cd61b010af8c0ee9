// Handler: what a path of a gRPC service does with its calls. Routes finds it by the path; Call carries it out.
//
// One handler serves all calls of all threads: its methods are const, run in the thread of the call's loop, and keep
// what belongs to a call in Call::state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"

namespace servoir::grpc {

class Call;

// Takes a large message piece by piece. Belongs to the call's thread.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  // The next bytes. After an error, which is the call's, nothing follows.
  [[nodiscard]] virtual Status feed(std::span<const std::byte> bytes) = 0;
  // Where the next bytes will be copied to, if that is known: they may be received there and are then fed from there.
  [[nodiscard]] virtual std::span<std::byte> next_destination() const { return {}; }
  // All bytes have been fed.
  virtual void finish(Call& call) = 0;
  // feed() failed: ends the call.
  virtual void fail(Call& call, const Status& why) = 0;
};

enum class CallShape : std::uint8_t {
  kUnary,          // one message each way
  kServerStream,   // one message of the client's, any number of ours
  kBidirectional,  // any number each way
};

class Handler {
 public:
  virtual ~Handler() = default;
  [[nodiscard]] virtual CallShape shape() const { return CallShape::kUnary; }
  // The largest message that it takes, if that is less than what the listener allows.
  [[nodiscard]] virtual std::uint64_t max_message_bytes() const { return UINT64_MAX; }
  // A message of the client's, whole; its bytes are gone when this returns. Exactly one comes, unless the shape is
  // kBidirectional.
  virtual void on_message(Call& call, std::span<const std::byte> message) const = 0;
  // A message of more than Call::kCollectBytes is about to come in pieces. By default it is collected, as it comes, and
  // given to on_message().
  [[nodiscard]] virtual std::unique_ptr<MessageSink> open_sink(Call& call, std::uint64_t bytes) const;
  // The client has sent all that it will send. Until then a unary call's client may still break the protocol, so this
  // is the time to start what costs something.
  virtual void on_half_close(Call& /*call*/) const {}
  // What was sent has left: see Call::unsent().
  virtual void on_drained(Call& /*call*/) const {}
  // The call is over although it was not finished: its client has gone, or has sent what cannot be understood.
  virtual void on_cancel(Call& /*call*/, const Status& /*why*/) const {}
};

}  // namespace servoir::grpc
