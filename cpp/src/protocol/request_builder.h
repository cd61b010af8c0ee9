// RequestBuilder: puts the tensors of a request, as a protocol's parser finds them, into the arena.
//
// A parser calls, in the order of the message: method(), then for each instance begin_instance(), tensor()…,
// end_instance(), and at the end finish(). Where the protocol has one tensor for each input with a row an instance, it
// calls column() for each of them between method() and finish() instead. The bytes of a tensor go straight to their
// place in the batch of the stage that will read them first. tensor() returns where to write them, so a large tensor
// can be copied piece by piece as it streams in. Belongs to one thread (the connection's I/O thread).
//
// An error returned by any call is one of the whole request; nothing else may then be called.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "memory/slab.h"
#include "request/request.h"
#include "schedule/scheduler.h"

namespace servoir {

// Instances in one request, at most: what a request takes besides its tensors stays in proportion to its message.
inline constexpr std::uint32_t kMaxInstances = 1U << 18U;
// Empty arrays that the tensors without elements of one request may have together, the first of each not counted: their
// shapes take no bytes in a message, but each array costs something where the tensor is printed or walked through.
inline constexpr std::uint64_t kMaxEmptyArrays = 1U << 20U;

class RequestBuilder {
 public:
  // `connection`: of what the requests of the same connection may have together; null: without limit.
  RequestBuilder(Scheduler* scheduler, SlabPool* slabs, MemoryBudget* connection = nullptr)
      : scheduler_(scheduler),
        slabs_(slabs),
        heap_(slabs->heap(), Request::kFreeBytes),
        memory_(connection, Request::kFreeBytes) {}

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

  // InvalidArgument beyond kMaxInstances, ResourceExhausted beyond the budget of SlabPool::heap(), or of the
  // connection.
  [[nodiscard]] Status begin_instance();
  // Number of the method's input of this name, or -1: the value is to be skipped.
  [[nodiscard]] int input(std::string_view name) const { return spec_->input_index(name); }
  // What is known of the input: a dtype, if numbers without a type of their own are to be taken for it, and a shape.
  [[nodiscard]] const Port& port(int input) const { return spec_->input_ports[static_cast<std::size_t>(input)]; }
  // Place for an input of the current instance, `bytes` long: shape.byte_size(dtype) for numbers, which is checked
  // (InvalidArgument; also beyond kMaxEmptyArrays), for kString and kBytes what tensor/text_array.h says; call
  // check_texts() when they are there. Given twice: the later one wins.
  [[nodiscard]] Result<std::byte*> tensor(int input, DataType dtype, const Shape& shape, std::uint64_t bytes);
  // Changes the dtype of an input of the current instance, which has its place, to another of the same size.
  void set_dtype(int input, DataType dtype) { value(static_cast<std::size_t>(input)).dtype = dtype; }
  // The values of an input of `rows` instances, which lie in a row: place for rows * row_shape.byte_size(dtype) bytes.
  // All columns of a request have the same number of rows (InvalidArgument).
  [[nodiscard]] Result<std::byte*> column(int input, DataType dtype, const Shape& row_shape, std::uint32_t rows);
  // The same for kString and kBytes, whose rows have different lengths: `bytes` bytes, which are at `place` already,
  // are the array of the elements of all rows. They are checked.
  [[nodiscard]] Status text_column(int input, DataType dtype, const Shape& row_shape, std::uint32_t rows,
                                   const Place& place, std::uint64_t bytes);
  // InvalidArgument, naming instance and input, when one is missing.
  [[nodiscard]] Status end_instance();

  // The request, complete; InvalidArgument when there is no instance, or an input has no column.
  [[nodiscard]] Result<std::shared_ptr<Request>> finish();

  // Of texts of the current instance, once they are in their place: whether they are a value of this shape, and UTF-8
  // where they are str. `bytes_type` is what the client calls the type that may have any bytes.
  [[nodiscard]] Status check_texts(int input, DataType dtype, const Shape& shape, std::span<const std::byte> bytes,
                                   std::string_view bytes_type) const;

  // InvalidArgument about an input of the current instance: "instance 3, input 'x': TEXT".
  [[nodiscard]] Status bad_input(int input, std::string_view text) const;
  // The number of the current instance, from 0.
  [[nodiscard]] std::uint32_t instance() const { return instances_ - 1; }

 private:
  // Rows of an input that are reserved for instances to come.
  struct ReservedRows {
    Place place;
    std::uint64_t row_bytes = 0;
    std::uint64_t left = 0;
  };

  [[nodiscard]] TensorRef& value(std::size_t input) {
    return base_[input * input_stride_ + std::size_t{instances_ - 1} * instance_stride_];
  }
  [[nodiscard]] Status charge(std::uint32_t instances);
  [[nodiscard]] Status charge_connection(std::uint64_t bytes);
  void collect();
  [[nodiscard]] Status begin_columns(int input, std::uint32_t rows);
  [[nodiscard]] Status count_empty_arrays(int input, const Shape& shape);
  [[nodiscard]] Status bad_column(int input, std::string_view text) const;
  [[nodiscard]] Status take_row(std::size_t input, std::uint64_t bytes, TensorRef* out, std::byte** data);

  Scheduler* scheduler_;
  SlabPool* slabs_;
  std::shared_ptr<const Method> method_;
  const Method* spec_ = nullptr;  // *method_
  std::uint64_t expected_ = 0;
  std::uint64_t expected_bytes_ = 0;
  std::uint32_t instances_ = 0;
  std::uint64_t empty_arrays_ = 0;
  bool by_columns_ = false;
  MemoryShare heap_;           // for charged_ instances
  MemoryShare memory_;         // for these and the tensors, of what the connection may have
  std::uint32_t charged_ = 0;  // at least instances_
  // Values are written into the request itself where the number of instances is known (and small) from the start,
  // otherwise collected and moved into it at the end.
  std::shared_ptr<Request> request_;
  std::vector<TensorRef> collected_;  // [instance * inputs + input]
  TensorRef* base_ = nullptr;
  std::size_t input_stride_ = 0;
  std::size_t instance_stride_ = 0;
  std::vector<ReservedRows> reserved_;  // one an input, or none as long as no rows were
};

}  // namespace servoir
