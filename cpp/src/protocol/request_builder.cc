#include "protocol/request_builder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/checked.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir {
namespace {

// A request is made when its first instance begins, for the expected number of instances, if there are few, or if their
// values take not much more than the message itself. Otherwise the memory follows what has really come.
constexpr std::uint64_t kDirectInstances = 64;
constexpr std::uint64_t kDirectBytesPerByte = 16;

bool makes_request(const MethodSpec& method, std::uint64_t instances, std::uint64_t message_bytes) {
  if (instances == 0 || instances > kMaxInstances) return false;
  return instances <= kDirectInstances ||
         instances * method.values * sizeof(TensorRef) <= kDirectBytesPerByte * message_bytes;
}

std::string quoted(std::string_view name) {
  std::string text(1, '\'');
  text += name;
  text += '\'';
  return text;
}

}  // namespace

Status RequestBuilder::method(std::string_view servable, std::uint64_t version, std::string_view method) {
  SERVOIR_ASSIGN_OR_RETURN(method_, scheduler_->find(servable, version, method));
  spec_ = method_.get();
  return {};
}

Status RequestBuilder::begin_instance() {
  if (instances_ == kMaxInstances) {
    return Status::InvalidArgument("the request has more than " + std::to_string(kMaxInstances) +
                                   " instances, the most that one request may have; send several requests");
  }
  const std::size_t inputs = spec_->spec->inputs.size();
  if (instances_ == 0 && makes_request(*spec_->spec, expected_, expected_bytes_)) {
    request_ = std::make_shared<Request>(method_, static_cast<std::uint32_t>(expected_));
    base_ = request_->values.data();
    input_stride_ = request_->instances;
    instance_stride_ = 1;
  } else if (request_ == nullptr || instances_ == request_->instances) {
    if (request_ != nullptr) collect();
    collected_.resize(collected_.size() + inputs);
    base_ = collected_.data();
    input_stride_ = 1;
    instance_stride_ = inputs;
  }
  ++instances_;
  return {};
}

// Moves the values out of a request that was made for another number of instances.
void RequestBuilder::collect() {
  const std::size_t inputs = spec_->spec->inputs.size();
  collected_.resize(instances_ * inputs);
  for (std::uint32_t i = 0; i < instances_; ++i) {
    for (std::uint32_t k = 0; k < inputs; ++k) collected_[i * inputs + k] = std::move(request_->at(k, i));
  }
  request_.reset();
}

Status RequestBuilder::take_row(std::size_t input, std::uint64_t bytes, TensorRef* out, std::byte** data) {
  Run* run = runs_.empty() ? nullptr : &runs_[input];
  if (run == nullptr || run->left == 0 || run->row_bytes != bytes) {
    const Method::Home& home = spec_->homes[input];
    std::uint64_t rows = 1;
    if (expected_ > 0 && bytes > 0) rows += std::min(expected_, expected_bytes_ / bytes);
    auto place = slabs_->reserve(SlabKey{home.slab_consumer, bytes}, rows, home.batch_rows);
    if (!place.ok()) return place.status();
    if (rows == 1) {
      out->offset = place->offset;
      out->block = std::move(place->block);
      *data = place->data;
      return {};
    }
    if (run == nullptr) {
      runs_.resize(spec_->spec->inputs.size());
      run = &runs_[input];
    }
    *run = Run{std::move(*place), bytes, rows};
  }
  out->block = run->place.block;
  out->offset = run->place.offset;
  *data = run->place.data;
  run->place.offset += bytes;
  run->place.data += bytes;
  if (--run->left == 0) run->place.block = BlockRef();
  return {};
}

Result<std::byte*> RequestBuilder::tensor(int input, DataType dtype, const Shape& shape, std::uint64_t bytes) {
  const auto index = static_cast<std::size_t>(input);
  TensorRef& ref = value(index);
  std::byte* data = nullptr;
  if (is_text(dtype)) {
    const Method::Home& home = spec_->homes[index];
    // In steps of 64 bytes, so that values of about the same length share a slab; they never make one array together.
    auto place = slabs_->reserve(SlabKey{home.slab_consumer, round_up(bytes, kBlockAlign)}, 1, 1);
    if (!place.ok()) return place.status();
    ref.offset = place->offset;
    ref.block = std::move(place->block);
    data = place->data;
    ref.shape = Shape();
  } else {
    const auto size = shape.byte_size(dtype);
    if (!size.ok()) return bad_input(input, size.status().message());
    if (*size != bytes || dtype == DataType::kUnknown) {
      return bad_input(input, std::string(name_of(dtype)) + " " + shape.text() + " takes " + std::to_string(*size) +
                                  " bytes, " + std::to_string(bytes) + " came");
    }
    SERVOIR_RETURN_IF_ERROR(take_row(index, bytes, &ref, &data));
    ref.shape = shape;
  }
  ref.bytes = bytes;
  ref.dtype = dtype;
  return data;
}

Status RequestBuilder::end_instance() {
  const auto& names = spec_->spec->inputs;
  for (std::size_t k = 0; k < names.size(); ++k) {
    if (value(k).block) continue;
    return Status::InvalidArgument("instance " + std::to_string(instance()) + " lacks input " + quoted(names[k]) +
                                   " of method " + quoted(spec_->spec->name) + " of servable " +
                                   quoted(spec_->servable->name));
  }
  return {};
}

Result<std::shared_ptr<Request>> RequestBuilder::finish() {
  if (instances_ == 0) {
    return Status::InvalidArgument("the request has no instances; expected at least one");
  }
  if (request_ != nullptr) {
    if (request_->instances == instances_) return std::move(request_);
    collect();
  }
  const std::size_t inputs = spec_->spec->inputs.size();
  auto request = std::make_shared<Request>(std::move(method_), instances_);
  for (std::uint32_t i = 0; i < instances_; ++i) {
    for (std::uint32_t k = 0; k < inputs; ++k) request->at(k, i) = std::move(collected_[i * inputs + k]);
  }
  collected_.clear();
  return request;
}

Status RequestBuilder::bad_input(int input, std::string_view text) const {
  std::string message = "instance " + std::to_string(instance()) + ", input " +
                        quoted(spec_->spec->inputs[static_cast<std::size_t>(input)]) + ": ";
  message += text;
  return Status::InvalidArgument(std::move(message));
}

}  // namespace servoir
