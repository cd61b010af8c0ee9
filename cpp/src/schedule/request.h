// Request: one call of a method on its way through the server.
//
// Built by a protocol on an I/O thread (values of the inputs), handed to Scheduler::submit, changed only under the
// scheduler's lock from then on, and given back through `answer` when every instance has its outputs or an error. From
// that call on the protocol's thread owns it again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"
#include "memory/tensor_ref.h"
#include "schedule/graph.h"

namespace servoir {

using Clock = std::chrono::steady_clock;

class Request {
 public:
  Request(std::shared_ptr<const Method> of, std::uint32_t instance_count)
      : method(std::move(of)),
        instances(instance_count),
        values(static_cast<std::size_t>(method->spec->values) * instance_count),
        errors(instance_count) {}

  // Value `value` of instance `instance`.
  [[nodiscard]] TensorRef& at(std::uint32_t value, std::uint32_t instance) {
    return values[static_cast<std::size_t>(value) * instances + instance];
  }
  [[nodiscard]] const TensorRef& at(std::uint32_t value, std::uint32_t instance) const {
    return values[static_cast<std::size_t>(value) * instances + instance];
  }

  const std::shared_ptr<const Method> method;
  const std::uint32_t instances;
  std::vector<TensorRef> values;
  std::vector<Status> errors;  // one an instance; not ok: the instance failed and has no outputs
  Status failure;              // not ok: the whole request failed (limit, deadline, cancelled, no worker)
  Clock::time_point deadline = Clock::time_point::max();
  // Called exactly once, on any thread, without the scheduler's lock. It must not block. Typically it posts to the
  // connection's I/O thread.
  std::function<void(std::shared_ptr<Request>)> answer;

  // For the scheduler only.
  struct Progress {
    std::vector<std::uint32_t> missing;  // [stage * instances + instance]: inputs that are not there yet
    std::vector<std::uint32_t> pending;  // [instance]: stages not run yet
    std::uint32_t open = 0;              // instances not finished
    std::uint32_t running = 0;           // spans of it that lanes hold
    bool internal = false;               // a call from a Python stage: not counted as enqueued
    bool retried = false;                // a worker died with it once
    bool answered = false;
    bool has_deadline = false;  // it is filed under its deadline
  } progress;
};

}  // namespace servoir
