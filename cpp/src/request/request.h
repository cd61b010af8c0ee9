// Request: one call of a method on its way through the server.
//
// A protocol builds it on an I/O thread, with the values of the inputs, and hands it to Scheduler::submit. From then on
// it is changed under the lock of its version's scheduler only. When every instance has its outputs or an error,
// `answer` gives it back, and the protocol's thread owns it again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/recycled.h"
#include "base/status.h"
#include "memory/memory_budget.h"
#include "memory/tensor_ref.h"
#include "request/graph.h"

namespace servoir {

// What a client may say about its request besides the values. Protocols fill in what they have a place for.
struct RequestInfo {
  std::string id;           // the client's own name for it, which its answer repeats; empty: none
  std::string traceparent;  // of W3C Trace Context, as it came; empty: none
  // Lower numbers are served first.
  static constexpr std::uint32_t kUsualPriority = 3;
  std::uint32_t priority = kUsualPriority;
  const void* sender = nullptr;  // with whose requests it takes turns: its connection; only compared
  Clock::time_point deadline = Clock::time_point::max();
  Clock::time_point received{};  // when its first stage was queued
};

class Request {
 public:
  // What a request of so many instances takes besides its tensors.
  [[nodiscard]] static std::uint64_t heap_bytes(const MethodSpec& method, std::uint64_t instances) {
    return instances *
           (method.values * sizeof(TensorRef) + sizeof(Status) + (method.stages.size() + 1) * sizeof(std::uint32_t));
  }
  // No more than this is not counted in `heap` and in `memory`.
  static constexpr std::uint64_t kFreeBytes = 16384;

  Request(std::shared_ptr<const Method> of, std::uint32_t instance_count)
      : method(std::move(of)),
        instances(instance_count),
        values(static_cast<std::size_t>(method->spec->values) * instance_count),
        errors(instance_count) {}

  // The value with this number of this instance.
  [[nodiscard]] TensorRef& at(std::uint32_t value, std::uint32_t instance) {
    return values[static_cast<std::size_t>(value) * instances + instance];
  }
  [[nodiscard]] const TensorRef& at(std::uint32_t value, std::uint32_t instance) const {
    return values[static_cast<std::size_t>(value) * instances + instance];
  }

  const std::shared_ptr<const Method> method;
  const std::uint32_t instances;
  MemoryShare heap;    // of what it takes besides its tensors
  MemoryShare memory;  // of this and its inputs, of what the requests of its connection may have
  RecycledVector<TensorRef> values;
  RecycledVector<Status> errors;  // of each instance; if not ok, the instance failed and has no outputs
  Status failure;                 // if not ok, the whole request failed (limit, deadline, cancelled, no worker)
  RequestInfo info;
  // It is called on any thread, without the scheduler's lock, and must not block: once, or several times where an
  // answer comes in parts, of which the final one is `last`. Typically it posts to the I/O thread of the connection.
  std::function<void(std::shared_ptr<Request>, bool last)> answer;

  // For the scheduler only.
  struct Progress {
    // [stage * instances + instance]: inputs that are not there yet. Empty if no stage waits for another.
    RecycledVector<std::uint32_t> missing;
    RecycledVector<std::uint32_t> pending;  // [instance]: stages not run yet
    std::uint32_t open = 0;                 // instances not finished
    std::uint32_t running = 0;              // spans of it that lanes hold
    std::uint64_t arrival = 0;  // smaller is older; a call from a Python stage is as old as what that stage runs
    bool admitted = false;      // it holds a place of the limit; a call from a Python stage holds none
    bool answered = false;
    bool has_deadline = false;  // it is filed under its deadline
  } progress;
};

// All requests are made by this.
[[nodiscard]] inline std::shared_ptr<Request> make_request(std::shared_ptr<const Method> method,
                                                           std::uint32_t instances) {
  return std::allocate_shared<Request>(Recycled<Request>(), std::move(method), instances);
}

}  // namespace servoir
