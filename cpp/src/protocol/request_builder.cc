#include "protocol/request_builder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/checked.h"
#include "base/text.h"
#include "protocol/utf8.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/text_array.h"

namespace servoir {
namespace {

// A request is made when its first instance begins, for the expected number of instances, if there are few, or if their
// values take not much more than the message itself. Otherwise the memory follows what has really come.
constexpr std::uint64_t kDirectInstances = 64;
constexpr std::uint64_t kDirectBytesPerByte = 16;
// Where it is not known how many instances will come, their memory is counted for these first, and then for twice as
// many whenever there are more.
constexpr std::uint32_t kFirstInstances = 16;

bool makes_request(const MethodSpec& method, std::uint64_t instances, std::uint64_t message_bytes) {
  if (instances == 0 || instances > kMaxInstances) return false;
  return instances <= kDirectInstances ||
         instances * method.values * sizeof(TensorRef) <= kDirectBytesPerByte * message_bytes;
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
    SERVOIR_RETURN_IF_ERROR(charge(static_cast<std::uint32_t>(expected_)));
    request_ = make_request(method_, static_cast<std::uint32_t>(expected_));
    base_ = request_->values.data();
    input_stride_ = request_->instances;
    instance_stride_ = 1;
  } else if (request_ == nullptr || instances_ == request_->instances) {
    if (request_ != nullptr) collect();
    if (instances_ == charged_) {
      SERVOIR_RETURN_IF_ERROR(charge(std::clamp<std::uint32_t>(2 * charged_, kFirstInstances, kMaxInstances)));
    }
    collected_.resize(collected_.size() + inputs);
    base_ = collected_.data();
    input_stride_ = 1;
    instance_stride_ = inputs;
  }
  ++instances_;
  return {};
}

// Counts the memory for so many instances in all.
Status RequestBuilder::charge(std::uint32_t instances) {
  const MethodSpec& method = *spec_->spec;
  // Collected values are moved into the request at the end, so there are two of them for a moment.
  const std::uint64_t more = instances - charged_;
  const std::uint64_t bytes = Request::heap_bytes(method, more) + more * method.inputs.size() * sizeof(TensorRef);
  SERVOIR_RETURN_IF_ERROR(charge_connection(bytes));
  if (heap_.add(bytes)) {
    charged_ = instances;
    return {};
  }
  const MemoryBudget& budget = *slabs_->heap();
  return Status::ResourceExhausted(
      "no memory for the instances of the request: " + std::to_string(instances) + " take " +
      std::to_string(bytes + heap_.held()) + " bytes besides their tensors, for which all requests have " +
      std::to_string(budget.limit()) + " bytes, a quarter of the arena's limit; " +
      std::to_string(budget.used() - heap_.held()) +
      " are in use; send fewer instances at a time, or raise the arena's limit (SERVOIR_ARENA_LIMIT_MB)");
}

// Counts memory that the request takes of what its connection may have.
Status RequestBuilder::charge_connection(std::uint64_t bytes) {
  if (memory_.add(bytes)) return {};
  const MemoryBudget& budget = *memory_.budget();
  return Status::ResourceExhausted(
      "no memory for the request: with " + std::to_string(bytes) + " bytes more it would have " +
      std::to_string(bytes + memory_.held()) + ", and the requests of its connection that wait for their answer have " +
      std::to_string(budget.used() - memory_.held()) + " of the " + std::to_string(budget.limit()) +
      " bytes that one connection may have, three quarters of the arena's limit (SERVOIR_ARENA_LIMIT_MB); wait for "
      "answers before more is sent");
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
  SERVOIR_RETURN_IF_ERROR(charge_connection(bytes));
  ReservedRows* reserved = reserved_.empty() ? nullptr : &reserved_[input];
  if (reserved == nullptr || reserved->left == 0 || reserved->row_bytes != bytes) {
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
    if (reserved == nullptr) {
      reserved_.resize(spec_->spec->inputs.size());
      reserved = &reserved_[input];
    }
    *reserved = ReservedRows{std::move(*place), bytes, rows};
  }
  out->block = reserved->place.block;
  out->offset = reserved->place.offset;
  *data = reserved->place.data;
  reserved->place.offset += bytes;
  reserved->place.data += bytes;
  if (--reserved->left == 0) reserved->place.block = BlockRef();
  return {};
}

Result<std::byte*> RequestBuilder::tensor(int input, DataType dtype, const Shape& shape, std::uint64_t bytes) {
  const auto index = static_cast<std::size_t>(input);
  TensorRef& ref = value(index);
  std::byte* data = nullptr;
  if (is_text(dtype)) {
    const Method::Home& home = spec_->homes[index];
    if (!may_be_texts(shape, bytes)) {
      return bad_input(input, std::string(name_of(dtype)) + " of shape " + shape.text() + " cannot have " +
                                  std::to_string(bytes) +
                                  " bytes: each element has 4 bytes for its length, and its own");
    }
    if (shape.rank != 0 && bytes == 0) SERVOIR_RETURN_IF_ERROR(count_empty_arrays(input, shape));
    SERVOIR_RETURN_IF_ERROR(charge_connection(bytes));
    // In steps of 64 bytes, so that values of about the same length share a slab; they never make one array together.
    auto place = slabs_->reserve(SlabKey{home.slab_consumer, round_up(bytes, kBlockAlign)}, 1, 1);
    if (!place.ok()) return place.status();
    ref.offset = place->offset;
    ref.block = std::move(place->block);
    data = place->data;
    ref.shape = shape;
  } else {
    const auto size = shape.byte_size(dtype);
    if (!size.ok()) return bad_input(input, size.status().message());
    if (*size != bytes || dtype == DataType::kUnknown) {
      return bad_input(input, std::string(name_of(dtype)) + " " + shape.text() + " takes " + std::to_string(*size) +
                                  " bytes, " + std::to_string(bytes) + " came");
    }
    if (bytes == 0) SERVOIR_RETURN_IF_ERROR(count_empty_arrays(input, shape));
    SERVOIR_RETURN_IF_ERROR(take_row(index, bytes, &ref, &data));
    ref.shape = shape;
  }
  ref.bytes = bytes;
  ref.dtype = dtype;
  return data;
}

Status RequestBuilder::begin_columns(int input, std::uint32_t rows) {
  if (by_columns_) {
    if (rows == instances_) return {};
    return bad_column(input, "has " + std::to_string(rows) + " rows, the inputs before it have " +
                                 std::to_string(instances_) + "; all inputs have a row for each instance");
  }
  if (rows == 0) return bad_column(input, "has no rows; expected one for each instance, and at least one instance");
  if (rows > kMaxInstances) {
    return bad_column(input, "has " + std::to_string(rows) + " rows; a request may have at most " +
                                 std::to_string(kMaxInstances) + " instances: send several requests");
  }
  SERVOIR_RETURN_IF_ERROR(charge(rows));
  by_columns_ = true;
  instances_ = rows;
  request_ = make_request(method_, rows);
  base_ = request_->values.data();
  input_stride_ = rows;
  instance_stride_ = 1;
  return {};
}

Result<std::byte*> RequestBuilder::column(int input, DataType dtype, const Shape& row_shape, std::uint32_t rows) {
  SERVOIR_RETURN_IF_ERROR(begin_columns(input, rows));
  if (element_bytes(dtype) == 0) {
    return bad_column(input, "is of " + std::string(name_of(dtype)) + "; such a column has numbers or bools");
  }
  const auto row_bytes = row_shape.byte_size(dtype);
  if (!row_bytes.ok()) return bad_column(input, row_bytes.status().message());
  if (*row_bytes == 0) SERVOIR_RETURN_IF_ERROR(count_empty_arrays(input, row_shape));
  const Method::Home& home = spec_->homes[static_cast<std::size_t>(input)];
  SERVOIR_ASSIGN_OR_RETURN(const Place place,
                           slabs_->reserve(SlabKey{home.slab_consumer, *row_bytes}, rows, home.batch_rows));
  SERVOIR_RETURN_IF_ERROR(charge_connection(rows * *row_bytes));
  for (std::uint32_t i = 0; i < rows; ++i) {
    request_->at(static_cast<std::uint32_t>(input), i) = {place.block, place.offset + i * *row_bytes, *row_bytes, dtype,
                                                          row_shape};
  }
  return place.data;
}

Status RequestBuilder::text_column(int input, DataType dtype, const Shape& row_shape, std::uint32_t rows,
                                   const Place& place, std::uint64_t bytes) {
  SERVOIR_RETURN_IF_ERROR(begin_columns(input, rows));
  const auto row_count = row_shape.element_count();
  if (!row_count.ok()) return bad_column(input, row_count.status().message());
  if (*row_count == 0) SERVOIR_RETURN_IF_ERROR(count_empty_arrays(input, row_shape));
  SERVOIR_RETURN_IF_ERROR(charge_connection(bytes));
  TextReader reader({place.data, static_cast<std::size_t>(bytes)});
  std::string_view element;
  for (std::uint32_t row = 0; row < rows; ++row) {
    const std::byte* begin = reader.rest().data();
    for (std::uint64_t i = 0; i < *row_count; ++i) {
      if (!reader.next(&element)) {
        return bad_column(input, "has " + std::to_string(rows) + " rows of shape " + row_shape.text() + ", but row " +
                                     std::to_string(row) + " is not whole: " + std::to_string(reader.rest().size()) +
                                     " bytes are left for the length (4 bytes) and the bytes of its element " +
                                     std::to_string(i));
      }
      if (dtype == DataType::kString && !is_utf8(element)) {
        return bad_column(input, "has a str in row " + std::to_string(row) + " that is not valid UTF-8");
      }
    }
    // A single text is the element without its length.
    if (row_shape.rank == 0) begin += kTextHeadBytes;
    request_->at(static_cast<std::uint32_t>(input), row) = {
        place.block, place.offset + static_cast<std::uint64_t>(begin - place.data),
        static_cast<std::uint64_t>(reader.rest().data() - begin), dtype, row_shape};
  }
  if (reader.at_end()) return {};
  return bad_column(input, "has " + std::to_string(rows) + " rows of shape " + row_shape.text() + ", and " +
                               std::to_string(reader.rest().size()) + " bytes come after them");
}

Status RequestBuilder::check_texts(int input, DataType dtype, const Shape& shape, std::span<const std::byte> bytes,
                                   std::string_view bytes_type) const {
  if (const Status whole = servoir::check_texts(shape, bytes); !whole.ok()) return bad_input(input, whole.message());
  if (dtype != DataType::kString) return {};
  const auto refuse = [&](const std::string& what) {
    return bad_input(input, what + " is not valid UTF-8; send other bytes as " + std::string(bytes_type));
  };
  if (shape.rank == 0) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return is_utf8(text) ? Status() : refuse("the str value");
  }
  TextReader reader(bytes);
  std::string_view element;
  for (std::uint64_t i = 0; reader.next(&element); ++i) {
    if (!is_utf8(element)) return refuse("element " + std::to_string(i) + " of the array of str");
  }
  return {};
}

Status RequestBuilder::count_empty_arrays(int input, const Shape& shape) {
  // The first of each tensor is not counted: a tensor has a byte of the message at least.
  const std::uint64_t each = shape.empty_arrays() - 1;
  const std::uint64_t tensors = by_columns_ ? instances_ : 1;
  std::uint64_t more = 0;
  if (checked_mul(each, tensors, &more) && more <= kMaxEmptyArrays - empty_arrays_) {
    empty_arrays_ += more;
    return {};
  }
  std::string text = "the shape " + shape.text() + " has no element, but " + std::to_string(each + 1) +
                     " empty arrays before its first 0";
  if (empty_arrays_ != 0) {
    text += ", and the tensors before it have " + std::to_string(empty_arrays_);
  }
  text += "; a request may have at most " + std::to_string(kMaxEmptyArrays) + ", the first of each tensor not counted";
  return by_columns_ ? bad_column(input, "has too many empty arrays: in each row " + text) : bad_input(input, text);
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
  if (by_columns_) {
    for (std::size_t k = 0; k < spec_->spec->inputs.size(); ++k) {
      if (!value(k).block) return bad_column(static_cast<int>(k), "is missing");
    }
  }
  if (request_ != nullptr && request_->instances != instances_) collect();
  if (request_ == nullptr) {
    const std::size_t inputs = spec_->spec->inputs.size();
    request_ = make_request(method_, instances_);
    for (std::uint32_t i = 0; i < instances_; ++i) {
      for (std::uint32_t k = 0; k < inputs; ++k) request_->at(k, i) = std::move(collected_[i * inputs + k]);
    }
    collected_ = {};
  }
  heap_.keep(Request::heap_bytes(*spec_->spec, instances_));
  request_->heap = std::move(heap_);
  request_->memory = std::move(memory_);
  return std::move(request_);
}

Status RequestBuilder::bad_column(int input, std::string_view text) const {
  std::string message = "input " + quoted(spec_->spec->inputs[static_cast<std::size_t>(input)]) + " of method " +
                        quoted(spec_->spec->name) + " of servable " + quoted(spec_->servable->name) + " ";
  message += text;
  return Status::InvalidArgument(std::move(message));
}

Status RequestBuilder::bad_input(int input, std::string_view text) const {
  std::string message = "instance " + std::to_string(instance()) + ", input " +
                        quoted(spec_->spec->inputs[static_cast<std::size_t>(input)]) + ": ";
  message += text;
  return Status::InvalidArgument(std::move(message));
}

}  // namespace servoir
