// RequestBuilder: puts the tensors of a request, as a protocol's parser finds them, into the arena.
//
// A parser calls, in the order of the message: method(), then for each instance begin_instance(), tensor()…,
// end_instance(), and at the end finish(). The bytes of a tensor go straight to their place in the batch of the stage
// that will read them first. tensor() returns where to write them, so a large tensor can be copied piece by piece as it
// streams in. Belongs to one thread (the connection's I/O thread).
//
// An error returned by any call is one of the whole request; nothing else may then be called.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "memory/slab.h"
#include "schedule/request.h"
#include "schedule/scheduler.h"

namespace servoir {

// Instances in one request, at most: what a request takes beside its tensors stays in proportion to its message.
inline constexpr std::uint32_t kMaxInstances = 1U << 18U;

class RequestBuilder {
 public:
  RequestBuilder(Scheduler* scheduler, SlabPool* slabs) : scheduler_(scheduler), slabs_(slabs) {}

  [[nodiscard]] Status method(std::string_view servable, std::uint64_t version, std::string_view method);
  [[nodiscard]] bool has_method() const { return method_ != nullptr; }
  // A hint, right or not. Before the first instance: how many there will be, in a message of `bytes` bytes. Within one:
  // how many more of its size; rows for them are kept together, but no more than `bytes` bytes of rows for one input
  // (what the rest of the message can hold), so that no message can make the server reserve much more than its own
  // size.
  void expect_instances(std::uint64_t count, std::uint64_t bytes) {
    expected_ = count;
    expected_bytes_ = bytes;
  }

  // InvalidArgument beyond kMaxInstances.
  [[nodiscard]] Status begin_instance();
  // Number of the method's input of this name, or -1: the value is to be skipped.
  [[nodiscard]] int input(std::string_view name) const { return spec_->input_index(name); }
  // Place for an input of the current instance, `bytes` long: shape.byte_size(dtype) for numbers, which is checked
  // (InvalidArgument), the length of the value for kString and kBytes, whose shape is taken as []. Given twice: the
  // later one wins.
  [[nodiscard]] Result<std::byte*> tensor(int input, DataType dtype, const Shape& shape, std::uint64_t bytes);
  // InvalidArgument, naming instance and input, when one is missing.
  [[nodiscard]] Status end_instance();

  // The request, complete; InvalidArgument when there is no instance.
  [[nodiscard]] Result<std::shared_ptr<Request>> finish();

  // InvalidArgument about an input of the current instance: "instance 3, input 'x': TEXT".
  [[nodiscard]] Status bad_input(int input, std::string_view text) const;
  // The number of the current instance, from 0.
  [[nodiscard]] std::uint32_t instance() const { return instances_ - 1; }

 private:
  // Rows of an input that are reserved for instances to come.
  struct Run {
    Place place;
    std::uint64_t row_bytes = 0;
    std::uint64_t left = 0;
  };

  [[nodiscard]] TensorRef& value(std::size_t input) {
    return base_[input * input_stride_ + std::size_t{instances_ - 1} * instance_stride_];
  }
  void collect();
  [[nodiscard]] Status take_row(std::size_t input, std::uint64_t bytes, TensorRef* out, std::byte** data);

  Scheduler* scheduler_;
  SlabPool* slabs_;
  std::shared_ptr<const Method> method_;
  const Method* spec_ = nullptr;  // *method_
  std::uint64_t expected_ = 0;
  std::uint64_t expected_bytes_ = 0;
  std::uint32_t instances_ = 0;
  // Values are written into the request itself where the number of instances is known (and small) from the start,
  // otherwise collected and moved into it at the end.
  std::shared_ptr<Request> request_;
  std::vector<TensorRef> collected_;  // [instance * inputs + input]
  TensorRef* base_ = nullptr;
  std::size_t input_stride_ = 0;
  std::size_t instance_stride_ = 0;
  std::vector<Run> runs_;  // one an input, or none as long as no run was reserved
};

}  // namespace servoir
