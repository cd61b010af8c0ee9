// GrpcMethod: what stands behind a path. GrpcRoutes: the table of paths.
//
// One object serves all calls of all threads: its methods are const and keep what belongs to a call in the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "memory/slab.h"
#include "schedule/request.h"
#include "schedule/scheduler.h"

namespace servoir {

class GrpcCall;

// Takes a large message piece by piece. Belongs to the call's thread.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  // The next bytes. After an error, which is the call's, nothing follows.
  [[nodiscard]] virtual Status feed(std::span<const std::byte> bytes) = 0;
  // Where the next bytes will be copied to, if that is known: they may be received there and are then fed from there.
  [[nodiscard]] virtual std::span<std::byte> place() const { return {}; }
  // All bytes have been fed.
  virtual void finish(GrpcCall& call) = 0;
  // feed() failed: answers the call.
  virtual void fail(GrpcCall& call, const Status& why) = 0;
};

class GrpcMethod {
 public:
  virtual ~GrpcMethod() = default;
  // The call's message, whole. The method ends it, now or later, with GrpcCall::reply, fail or submit.
  virtual void on_message(GrpcCall& call, std::span<const std::byte> message) const = 0;
  // A message of this size is about to come in pieces; null when the method wants it whole.
  [[nodiscard]] virtual std::unique_ptr<MessageSink> open_sink(std::uint64_t /*bytes*/) const { return nullptr; }
  // The request given to GrpcCall::submit is done.
  virtual void on_answer(GrpcCall& /*call*/, const Request& /*request*/) const {}
};

class GrpcRoutes {
 public:
  // Before the first connection. `path` is "/package.Service/Method".
  void add(std::string path, std::unique_ptr<GrpcMethod> method);
  [[nodiscard]] const GrpcMethod* find(std::string_view path) const;
  [[nodiscard]] bool has_service(std::string_view service) const;  // "package.Service"

 private:
  std::map<std::string, std::unique_ptr<GrpcMethod>, std::less<>> methods_;
};

// mindspore.serving.proto.MSService/Predict. Both must outlive it.
[[nodiscard]] std::unique_ptr<GrpcMethod> make_predict_method(Scheduler* scheduler, SlabPool* slabs);
inline constexpr std::string_view kPredictPath = "/mindspore.serving.proto.MSService/Predict";

// grpc.health.v1.Health/Check: SERVING when `ready` says so, for "" and each service in `routes`.
[[nodiscard]] std::unique_ptr<GrpcMethod> make_health_method(const GrpcRoutes* routes, std::function<bool()> ready);
inline constexpr std::string_view kHealthPath = "/grpc.health.v1.Health/Check";

}  // namespace servoir
