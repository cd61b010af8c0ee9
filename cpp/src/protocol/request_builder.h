// RequestBuilder: puts the tensors of a request, as a protocol's parser finds them, into the arena.
//
// A parser calls, in the order of the message: method(), then for each instance begin_instance(), tensor()… , and at
// the end finish(). The bytes of a tensor go straight to their place in the batch of the stage that will read them
// first. tensor() returns where to write them, so a large tensor can be copied piece by piece as it streams in. Belongs
// to one thread (the connection's I/O thread).
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

class RequestBuilder {
 public:
  RequestBuilder(Scheduler* scheduler, SlabPool* slabs) : scheduler_(scheduler), slabs_(slabs) {}

  [[nodiscard]] Status method(std::string_view servable, std::uint64_t version, std::string_view method);
  [[nodiscard]] bool has_method() const { return method_ != nullptr; }
  // How many more instances of the current one's size are expected (a hint: rows for them are kept together).
  void expect_instances(std::uint64_t count) { expected_ = count; }

  void begin_instance();
  // Place for an input of the current instance; nullptr data with ok() means that no input has this name and the bytes
  // are to be skipped. `bytes` must be shape.byte_size(dtype) for numbers (InvalidArgument otherwise) and the length of
  // the value for kString and kBytes. A name that comes twice: the later one wins.
  [[nodiscard]] Result<std::byte*> tensor(std::string_view name, DataType dtype, const Shape& shape,
                                          std::uint64_t bytes);

  // The request, complete; InvalidArgument when there is no instance or an input is missing (names instance and input).
  [[nodiscard]] Result<std::shared_ptr<Request>> finish();

 private:
  Scheduler* scheduler_;
  SlabPool* slabs_;
  std::shared_ptr<const Method> method_;
  std::uint64_t expected_ = 0;
  std::uint32_t instances_ = 0;
  std::vector<TensorRef> values_;  // [instance * inputs + input]
};

}  // namespace servoir
