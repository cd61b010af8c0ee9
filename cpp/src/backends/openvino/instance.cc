#include "instance.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace servoir::openvino {
namespace {

constexpr std::size_t kMaxProperties = 16;
constexpr std::uint64_t kWitnessBytes = 256U << 10U;

bool is_dynamic(const servoir_port& port) {
  if (port.rank == SERVOIR_UNKNOWN_RANK) return true;
  return std::find(port.dims, port.dims + port.rank, SERVOIR_DYNAMIC) != port.dims + port.rank;
}

// For tensors without elements: OpenVINO refuses a null pointer.
alignas(64) std::byte nothing[64];

bool same_shape(const servoir_buffer& a, const servoir_buffer& b) {
  return a.dtype == b.dtype && a.rank == b.rank && std::memcmp(a.dims, b.dims, a.rank * sizeof(a.dims[0])) == 0;
}

// Bytes of the buffer's shape; false on overflow or a negative dimension.
bool bytes_of(const servoir_buffer& buffer, std::uint32_t element_bytes, std::uint64_t* bytes) {
  std::uint64_t total = element_bytes;
  for (std::uint32_t i = 0; i < buffer.rank; ++i) {
    if (buffer.dims[i] < 0 || __builtin_mul_overflow(total, static_cast<std::uint64_t>(buffer.dims[i]), &total)) {
      return false;
    }
  }
  *bytes = total;
  return true;
}

ov_shape_t shape_of(servoir_buffer* buffer) { return {static_cast<std::int64_t>(buffer->rank), buffer->dims}; }

}  // namespace

Failure Instance::failed(const std::string& what, ov_status_e status) const {
  return {SERVOIR_INTERNAL, what + ": " + api_.reason(status)};
}

Failure Instance::create(const Model& model, const char* device, std::unique_ptr<plugin::Instance>* instance) {
  // Latency on one stream: a worker runs one batch at a time, and all its threads work on that batch. No pinning: the
  // cores are shared with the server and other workers, and two workers would pin to the same cores.
  std::unique_ptr<Instance> made(new Instance(model, device));  // NOLINT: the constructor is private
  Options& properties = made->properties_;
  const auto set = [&properties](const std::string& key, const std::string& value) {
    for (auto& property : properties) {
      if (property.first == key) {
        property.second = value;
        return;
      }
    }
    properties.emplace_back(key, value);
  };
  set("PERFORMANCE_HINT", "LATENCY");
  if (std::strncmp(device, "CPU", 3) == 0) {
    set("NUM_STREAMS", "1");
    set("ENABLE_CPU_PINNING", "NO");
    // Computes with the precision of the file. On processors that have bfloat16 OpenVINO would choose that, and answers
    // would differ.
    set("INFERENCE_PRECISION_HINT", "f32");
    // Compiled code of that many shapes of operators is kept, 0.1 to 0.5 MB each. OpenVINO's own limit is 5000, so a
    // model with a new length in each request would grow beyond a gigabyte.
    set("CPU_RUNTIME_CACHE_CAPACITY", "256");
  }
  for (const auto& [key, value] : model.options_) {
    if (key == "threads") {
      if (value != "0") set("INFERENCE_NUM_THREADS", value);
    } else if (key == "streams") {
      set("NUM_STREAMS", value);
    } else {
      set(key, value);
    }
  }
  if (properties.size() > kMaxProperties) {
    return {SERVOIR_INVALID_ARGUMENT, "more than " + std::to_string(kMaxProperties) + " properties"};
  }
  if (Failure f = made->compile(); f.failed()) return f;
  *instance = std::move(made);
  return {};
}

Failure Instance::compile() {
  std::array<const char*, 2 * kMaxProperties> p{};
  std::string text;
  for (std::size_t i = 0; i < properties_.size(); ++i) {
    p[2 * i] = properties_[i].first.c_str();
    p[2 * i + 1] = properties_[i].second.c_str();
    text += (text.empty() ? "" : ", ") + properties_[i].first + "=" + properties_[i].second;
  }
  ov_compiled_model_t* compiled = nullptr;
  // The function takes as many arguments as it is told; those after them are not looked at. (The form that takes an
  // array is not in the older releases.)
  const ov_status_e status = api_.ov_core_compile_model(
      model_.core_, model_.model_.get(), device_.c_str(), 2 * properties_.size(), &compiled, p[0], p[1], p[2], p[3],
      p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16], p[17], p[18], p[19], p[20],
      p[21], p[22], p[23], p[24], p[25], p[26], p[27], p[28], p[29], p[30], p[31]);
  if (status != ov_status_e::OK) {
    return failed("the model cannot be compiled for device " + device_ + " with " + text, status);
  }
  Handle<ov_compiled_model_t> owned(compiled, api_.ov_compiled_model_free);
  ov_infer_request_t* request = nullptr;
  if (const ov_status_e s = api_.ov_compiled_model_create_infer_request(compiled, &request); s != ov_status_e::OK) {
    return failed("no infer request", s);
  }
  request_ = Handle<ov_infer_request_t>(request, api_.ov_infer_request_free);
  compiled_ = std::move(owned);
  unbind();
  examined_ = false;
  suspect_ = false;
  return {};
}

void Instance::unbind() {
  inputs_.clear();
  inputs_.resize(model_.inputs_.size());
  outputs_.clear();
  outputs_.resize(model_.outputs_.size());
  marked_.assign(outputs_.size(), {});
}

void Instance::examine_outputs() {
  const auto data_of = [this](std::size_t index) -> const void* {
    ov_tensor_t* raw = nullptr;
    if (api_.ov_infer_request_get_output_tensor_by_index(request_.get(), index, &raw) != ov_status_e::OK)
      return nullptr;
    const Handle<ov_tensor_t> tensor(raw, api_.ov_tensor_free);
    void* data = nullptr;
    return api_.ov_tensor_data(raw, &data) == ov_status_e::OK ? data : nullptr;
  };
  passing_.assign(outputs_.size(), false);
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    const void* const data = data_of(k);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const bool same_memory = data != nullptr && data == inputs_[i].data;
      if (same_memory || model_.outputs_[k].name == model_.inputs_[i].name) passing_[k] = true;
    }
  }
  // A tensor without elements has no memory to be known by.
  examined_ = std::all_of(inputs_.begin(), inputs_.end(), [](const Binding& input) { return input.bytes != 0; });
}

Failure Instance::bind_input(std::size_t index, const servoir_buffer& buffer) {
  const Port& port = model_.inputs_[index];
  if (buffer.dtype != port.type->dtype || buffer.rank > SERVOIR_MAX_RANK) {
    return {SERVOIR_INVALID_ARGUMENT, "input '" + port.name + "' has the wrong element type or too many dimensions"};
  }
  std::uint64_t bytes = 0;
  if (!bytes_of(buffer, port.type->bytes, &bytes) || bytes != buffer.bytes) {
    return {SERVOIR_INVALID_ARGUMENT,
            "input '" + port.name + "' has " + std::to_string(buffer.bytes) + " bytes, which does not match its shape"};
  }
  Binding& binding = inputs_[index];
  if (binding.data == buffer.data && binding.data != nullptr && same_shape(binding.shape, buffer)) return {};
  servoir_buffer shape = buffer;
  ov_tensor_t* raw = nullptr;
  ov_status_e status = api_.ov_tensor_create_from_host_ptr(static_cast<ov_element_type_e>(port.type->openvino),
                                                           shape_of(&shape), bytes == 0 ? nothing : buffer.data, &raw);
  if (status != ov_status_e::OK) return failed("no tensor on input '" + port.name + "'", status);
  Handle<ov_tensor_t> tensor(raw, api_.ov_tensor_free);
  status = api_.ov_infer_request_set_input_tensor_by_index(request_.get(), index, raw);
  if (status != ov_status_e::OK) {
    binding.data = nullptr;
    return {SERVOIR_INVALID_ARGUMENT, "input '" + port.name + "' does not fit the model: " + api_.reason(status)};
  }
  binding = {std::move(tensor), buffer.data, bytes, shape};
  return {};
}

Failure Instance::bind_output(std::size_t index, const servoir_buffer& room) {
  const Port& port = model_.outputs_[index];
  std::uint64_t bytes = 0;
  const bool usable = room.data != nullptr && room.rank <= SERVOIR_MAX_RANK && room.dtype == port.type->dtype &&
                      bytes_of(room, port.type->bytes, &bytes) && bytes != 0 && bytes <= room.bytes;
  if (!may_bind(index)) return {};
  if (!usable) return bind_own_output(index);
  Binding& binding = outputs_[index];
  if (binding.data == room.data && same_shape(binding.shape, room)) return {};
  servoir_buffer shape = room;
  ov_tensor_t* raw = nullptr;
  ov_status_e status = api_.ov_tensor_create_from_host_ptr(static_cast<ov_element_type_e>(port.type->openvino),
                                                           shape_of(&shape), room.data, &raw);
  if (status != ov_status_e::OK) return failed("no tensor on the room of output '" + port.name + "'", status);
  Handle<ov_tensor_t> tensor(raw, api_.ov_tensor_free);
  status = api_.ov_infer_request_set_output_tensor_by_index(request_.get(), index, raw);
  if (status != ov_status_e::OK) return bind_own_output(index);  // a shape that the model can never have
  binding = {std::move(tensor), room.data, bytes, shape};
  return {};
}

Failure Instance::bind_own_output(std::size_t index) {
  if (!may_bind(index)) return {};
  Binding& binding = outputs_[index];
  if (binding.tensor.get() != nullptr && binding.data == nullptr) return {};
  const Port& port = model_.outputs_[index];
  servoir_buffer shape{};
  shape.rank = port.description.rank == SERVOIR_UNKNOWN_RANK ? 1 : port.description.rank;
  for (std::uint32_t i = 0; i < shape.rank; ++i) {
    // A dynamic dimension starts empty; the request gives the tensor its shape when it is known.
    const bool known = port.description.rank != SERVOIR_UNKNOWN_RANK && port.description.dims[i] != SERVOIR_DYNAMIC;
    shape.dims[i] = known ? port.description.dims[i] : 0;
  }
  for (bool again = true;; again = false) {
    ov_tensor_t* raw = nullptr;
    ov_status_e status =
        api_.ov_tensor_create(static_cast<ov_element_type_e>(port.type->openvino), shape_of(&shape), &raw);
    if (status != ov_status_e::OK) return failed("no tensor for output '" + port.name + "'", status);
    Handle<ov_tensor_t> tensor(raw, api_.ov_tensor_free);
    status = api_.ov_infer_request_set_output_tensor_by_index(request_.get(), index, raw);
    if (status == ov_status_e::OK) {
      binding = {std::move(tensor), nullptr, 0, shape};
      return {};
    }
    // OpenVINO may have found out, when it compiled the model, what the file leaves open. The tensor that is there has
    // it.
    servoir_buffer found{};
    if (!again || read_output(index, &found).failed())
      return failed("output '" + port.name + "' cannot be bound", status);
    shape.rank = found.rank;
    std::copy_n(found.dims, found.rank, shape.dims);
  }
}

Failure Instance::read_output(std::size_t index, servoir_buffer* buffer) {
  const Port& port = model_.outputs_[index];
  ov_tensor_t* raw = nullptr;
  ov_status_e status = api_.ov_infer_request_get_output_tensor_by_index(request_.get(), index, &raw);
  if (status != ov_status_e::OK) return failed("output '" + port.name + "' is not there", status);
  const Handle<ov_tensor_t> tensor(raw, api_.ov_tensor_free);
  ov_shape_t shape{};
  status = api_.shape_of(raw, port.type->bytes, &shape);
  if (status != ov_status_e::OK) return failed("output '" + port.name + "' has no shape", status);
  buffer->dtype = port.type->dtype;
  const bool fits = shape.rank >= 0 && shape.rank <= static_cast<std::int64_t>(SERVOIR_MAX_RANK);
  if (fits) {
    buffer->rank = static_cast<std::uint32_t>(shape.rank);
    for (std::uint32_t i = 0; i < buffer->rank; ++i) buffer->dims[i] = shape.dims[i];
  }
  const std::int64_t rank = shape.rank;
  api_.ov_shape_free(&shape);
  std::uint64_t bytes = 0;
  if (!fits || !bytes_of(*buffer, port.type->bytes, &bytes)) {
    return {SERVOIR_UNIMPLEMENTED, "output '" + port.name + "' has " + std::to_string(rank) +
                                       " dimensions or is too large; at most " + std::to_string(SERVOIR_MAX_RANK) +
                                       " dimensions can be served"};
  }
  void* data = nullptr;
  status = api_.ov_tensor_data(raw, &data);
  if (status != ov_status_e::OK) return failed("output '" + port.name + "' has no data", status);
  buffer->data = data;
  buffer->bytes = bytes;
  return {};
}

Failure Instance::execute(const servoir_buffer* inputs, std::uint64_t input_count, servoir_buffer* outputs,
                          std::uint64_t output_count) {
  if (input_count != inputs_.size() || output_count != outputs_.size()) {
    return {SERVOIR_INVALID_ARGUMENT, "the model has " + std::to_string(inputs_.size()) + " inputs and " +
                                          std::to_string(outputs_.size()) + " outputs, not " +
                                          std::to_string(input_count) + " and " + std::to_string(output_count)};
  }
  if (suspect_) {
    if (Failure f = recover(); f.failed()) return f;
  }
  if (Failure f = bind_inputs(inputs); f.failed()) return f;
  bool guesses = false;  // rooms whose shape may be wrong
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (Failure f = bind_output(i, outputs[i]); f.failed()) return f;
    guesses = guesses || (outputs_[i].data != nullptr && is_dynamic(model_.outputs_[i].description));
  }
  Failure failure = run(outputs, Mark::kFirst);
  const Port* missing = failure.failed() ? nullptr : unwritten(outputs, Mark::kFirst);
  if (guesses && (failure.failed() || missing != nullptr)) {
    // A result that has another shape than expected does not fit its room.
    if (suspect_) {
      if (Failure f = compile(); f.failed()) return f;
      if (Failure f = bind_inputs(inputs); f.failed()) return f;
    }
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (Failure f = bind_own_output(i); f.failed()) return f;
    }
    failure = run(outputs, Mark::kFirst);
    missing = failure.failed() ? nullptr : unwritten(outputs, Mark::kFirst);
    // A result without elements may not have been computed.
    for (std::size_t i = 0; i < outputs_.size(); ++i) suspect_ = suspect_ || outputs[i].bytes == 0;
  }
  if (missing != nullptr) {
    // Nothing was written, or the result looks like the mark.
    failure = run(outputs, Mark::kSecond);
    missing = failure.failed() ? nullptr : unwritten(outputs, Mark::kSecond);
    if (missing != nullptr) {
      suspect_ = true;
      return {SERVOIR_INTERNAL, "OpenVINO computed nothing for output '" + missing->name + "'"};
    }
  }
  if (failure.failed()) return failure;
  if (witness_.inputs.empty()) keep_witness(inputs, outputs);
  return {};
}

Failure Instance::bind_inputs(const servoir_buffer* inputs) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (Failure f = bind_input(i, inputs[i]); f.failed()) return f;
  }
  if (!examined_) examine_outputs();
  return {};
}

Failure Instance::run(servoir_buffer* outputs, Mark mark) {
  mark_outputs(mark);
  if (const ov_status_e status = api_.ov_infer_request_infer(request_.get()); status != ov_status_e::OK) {
    suspect_ = true;
    return failed("OpenVINO failed", status);
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (Failure f = read_output(i, &outputs[i]); f.failed()) return f;
  }
  return {};
}

void Instance::keep_witness(const servoir_buffer* inputs, const servoir_buffer* outputs) {
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < inputs_.size(); ++i) all += inputs[i].bytes;
  for (std::size_t i = 0; i < outputs_.size(); ++i) all += outputs[i].bytes;
  if (all > kWitnessBytes) return;
  const auto copy = [](const servoir_buffer& from, std::vector<Witness::Tensor>* to) {
    const auto* begin = static_cast<const std::byte*>(from.data);
    to->push_back({from, std::vector<std::byte>(begin, begin + from.bytes)});
  };
  for (std::size_t i = 0; i < inputs_.size(); ++i) copy(inputs[i], &witness_.inputs);
  for (std::size_t i = 0; i < outputs_.size(); ++i) copy(outputs[i], &witness_.outputs);
}

Failure Instance::recover() {
  // A request that failed half-way may have lost tensors that were bound to it.
  unbind();
  suspect_ = false;
  return !witness_.inputs.empty() && witness_holds() ? Failure{} : compile();
}

bool Instance::witness_holds() {
  std::vector<servoir_buffer> inputs;
  for (Witness::Tensor& tensor : witness_.inputs) {
    inputs.push_back(tensor.form);
    inputs.back().data = tensor.bytes.data();
  }
  if (bind_inputs(inputs.data()).failed()) return false;
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (bind_own_output(i).failed()) return false;
  }
  std::vector<servoir_buffer> outputs(outputs_.size());
  if (run(outputs.data(), Mark::kFirst).failed() || unwritten(outputs.data(), Mark::kFirst) != nullptr) return false;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Witness::Tensor& kept = witness_.outputs[i];
    if (!same_shape(outputs[i], kept.form) || outputs[i].bytes != kept.bytes.size()) return false;
    if (!kept.bytes.empty() && std::memcmp(outputs[i].data, kept.bytes.data(), kept.bytes.size()) != 0) return false;
  }
  return true;
}

}  // namespace servoir::openvino
