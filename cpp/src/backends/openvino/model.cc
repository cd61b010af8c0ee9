#include "model.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace servoir::openvino {
namespace {

constexpr std::size_t kMaxProperties = 16;

// Left at the end of a room whose output may turn out to have another shape. When the result is larger than the tensor
// it was to go to, some releases (2026.4) neither fail nor write nor say so.
constexpr std::array<unsigned char, 16> kUnwritten = {0xA5, 0x1F, 0x7E, 0xC3, 0x98, 0xD1, 0x4B, 0xE7,
                                                      0x36, 0xF2, 0x8D, 0x5A, 0xB9, 0x64, 0xCE, 0xA5};

std::byte* mark_of(void* data, std::uint64_t bytes, std::size_t* size) {
  *size = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kUnwritten.size()));
  return static_cast<std::byte*>(data) + (bytes - *size);
}

bool is_dynamic(const servoir_port& port) {
  if (port.rank == SERVOIR_UNKNOWN_RANK) return true;
  return std::find(port.dims, port.dims + port.rank, SERVOIR_DYNAMIC) != port.dims + port.rank;
}

// For tensors without elements: OpenVINO refuses a null pointer.
alignas(64) std::byte nothing[64];

bool is_property(const std::string& key) {
  return !key.empty() && key.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos;
}

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

Failure Model::open(const Api& api, ov_core_t* core, const char* path, const char* weights, Options options,
                    std::unique_ptr<plugin::Model>* model) {
  ov_model_t* raw = nullptr;
  const ov_status_e status = api.ov_core_read_model(core, path, weights, &raw);
  return take(api, core, path, status, raw, std::move(options), model);
}

Failure Model::open(const Api& api, ov_core_t* core, const servoir_content& file, const servoir_content* weights,
                    Options options, std::unique_ptr<plugin::Model>* model) {
  // Constants of an IR stay where they are in the weights: these are copied into memory of OpenVINO's own, which lives
  // as long as the model.
  Handle<ov_tensor_t> copied;
  if (weights != nullptr && weights->bytes > 0) {
    const auto type = static_cast<ov_element_type_e>(api.types().of_dtype(SERVOIR_UINT8)->openvino);
    std::int64_t dims[1] = {static_cast<std::int64_t>(weights->bytes)};
    ov_tensor_t* tensor = nullptr;
    void* memory = nullptr;
    ov_status_e status = api.ov_tensor_create(type, ov_shape_t{1, dims}, &tensor);
    if (status == ov_status_e::OK) {
      copied = Handle<ov_tensor_t>(tensor, api.ov_tensor_free);
      status = api.ov_tensor_data(tensor, &memory);
    }
    if (status != ov_status_e::OK) {
      return {SERVOIR_RESOURCE_EXHAUSTED, std::string(weights->name) + ": no memory for its " +
                                              std::to_string(weights->bytes) + " bytes: " + api.reason(status)};
    }
    std::memcpy(memory, weights->data, weights->bytes);
  }
  ov_model_t* raw = nullptr;
  const ov_status_e status = api.ov_core_read_model_from_memory_buffer(core, static_cast<const char*>(file.data),
                                                                       file.bytes, copied.get(), &raw);
  return take(api, core, file.name, status, raw, std::move(options), model);
}

Failure Model::take(const Api& api, ov_core_t* core, const char* name, ov_status_e status, ov_model_t* read,
                    Options options, std::unique_ptr<plugin::Model>* model) {
  if (status != ov_status_e::OK) {
    return {SERVOIR_INVALID_ARGUMENT, std::string(name) + " cannot be read: " + api.reason(status)};
  }
  std::unique_ptr<Model> made(new Model(api, core));  // NOLINT: the constructor is private
  made->model_ = Handle<ov_model_t>(read, api.ov_model_free);
  for (const auto& [key, value] : options) {
    if (key != "threads" && key != "streams" && !is_property(key)) {
      return {SERVOIR_INVALID_ARGUMENT,
              "option '" + key + "' is unknown; OpenVINO takes threads, streams and its own properties in capitals"};
    }
  }
  made->options_ = std::move(options);
  if (Failure f = made->read_ports(name, true, &made->inputs_); f.failed()) return f;
  if (Failure f = made->read_ports(name, false, &made->outputs_); f.failed()) return f;
  *model = std::move(made);
  return {};
}

Failure Model::read_ports(const char* path, bool inputs, std::vector<Port>* ports) const {
  const std::string side = inputs ? "input " : "output ";
  const auto failed = [&](std::size_t index, const std::string& why) {
    return Failure{SERVOIR_UNIMPLEMENTED, std::string(path) + ": " + side + std::to_string(index) + " " + why};
  };
  std::size_t count = 0;
  ov_status_e status =
      inputs ? api_.ov_model_inputs_size(model_.get(), &count) : api_.ov_model_outputs_size(model_.get(), &count);
  if (status != ov_status_e::OK) {
    return {SERVOIR_INTERNAL,
            std::string(path) + ": the number of " + side + "tensors is unknown: " + api_.reason(status)};
  }
  ports->resize(count);  // once: descriptions point into the elements
  for (std::size_t i = 0; i < count; ++i) {
    ov_output_const_port_t* raw = nullptr;
    status = inputs ? api_.ov_model_const_input_by_index(model_.get(), i, &raw)
                    : api_.ov_model_const_output_by_index(model_.get(), i, &raw);
    if (status != ov_status_e::OK) return failed(i, "cannot be examined: " + api_.reason(status));
    const Handle<ov_output_const_port_t> port(raw, api_.ov_output_const_port_free);

    Port& made = (*ports)[i];
    char* name = nullptr;
    if (api_.ov_port_get_any_name(port.get(), &name) == ov_status_e::OK && name != nullptr) {
      made.name = name;
      api_.ov_free(name);
    } else {
      made.name = (inputs ? "input_" : "output_") + std::to_string(i);
    }
    made.description.name = made.name.c_str();

    auto number = static_cast<ov_element_type_e>(0);
    status = api_.ov_port_get_element_type(port.get(), &number);
    if (status != ov_status_e::OK) return failed(i, "has no element type: " + api_.reason(status));
    made.type = api_.types().of_openvino(static_cast<std::uint32_t>(number));
    if (made.type == nullptr) {
      return failed(
          i, "('" + made.name + "') has OpenVINO's element type " + std::to_string(static_cast<std::uint32_t>(number)) +
                 ", which Servoir cannot serve: bool, integers of 8 to 64 bits and float16, 32 and 64 can be");
    }
    made.description.dtype = made.type->dtype;

    ov_partial_shape_t shape{};
    status = api_.ov_port_get_partial_shape(port.get(), &shape);
    if (status != ov_status_e::OK) return failed(i, "has no shape: " + api_.reason(status));
    if (api_.ov_rank_is_dynamic(shape.rank)) {
      made.description.rank = SERVOIR_UNKNOWN_RANK;
    } else {
      const std::int64_t rank = shape.rank.max;
      if (rank > static_cast<std::int64_t>(SERVOIR_MAX_RANK)) {
        api_.ov_partial_shape_free(&shape);
        return failed(i, "('" + made.name + "') has " + std::to_string(rank) + " dimensions, at most " +
                             std::to_string(SERVOIR_MAX_RANK) + " can be served");
      }
      made.description.rank = static_cast<std::uint32_t>(rank);
      for (std::int64_t d = 0; d < rank; ++d) {
        const bool fixed = shape.dims[d].min == shape.dims[d].max;
        made.description.dims[d] = fixed ? shape.dims[d].max : SERVOIR_DYNAMIC;
      }
    }
    api_.ov_partial_shape_free(&shape);
  }
  return {};
}

Failure Instance::failed(const std::string& what, ov_status_e status) const {
  return {SERVOIR_INTERNAL, what + ": " + api_.reason(status)};
}

Failure Model::create_instance(const char* device, std::unique_ptr<plugin::Instance>* instance) {
  return Instance::create(*this, device, instance);
}

Failure Instance::create(const Model& model, const char* device, std::unique_ptr<plugin::Instance>* instance) {
  // Latency on one stream: a worker runs one batch at a time, and all its threads work on that one. No pinning: the
  // cores are shared with the server and other workers, and two workers would pin to the same cores.
  Options properties;
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
    // As the file says. OpenVINO's own choice on processors that can is bfloat16, which answers differ by.
    set("INFERENCE_PRECISION_HINT", "f32");
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
  std::array<const char*, 2 * kMaxProperties> p{};
  std::string text;
  for (std::size_t i = 0; i < properties.size(); ++i) {
    p[2 * i] = properties[i].first.c_str();
    p[2 * i + 1] = properties[i].second.c_str();
    text += (text.empty() ? "" : ", ") + properties[i].first + "=" + properties[i].second;
  }

  std::unique_ptr<Instance> made(new Instance(model));  // NOLINT: the constructor is private
  const Api& api = model.api_;
  ov_compiled_model_t* compiled = nullptr;
  // The function takes as many arguments as it is told; those behind them are not looked at. (The form that takes an
  // array is not in the older releases.)
  const ov_status_e status = api.ov_core_compile_model(
      model.core_, model.model_.get(), device, 2 * properties.size(), &compiled, p[0], p[1], p[2], p[3], p[4], p[5],
      p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15], p[16], p[17], p[18], p[19], p[20], p[21], p[22],
      p[23], p[24], p[25], p[26], p[27], p[28], p[29], p[30], p[31]);
  if (status != ov_status_e::OK) {
    return made->failed(std::string("the model cannot be compiled for device ") + device + " with " + text, status);
  }
  made->compiled_ = Handle<ov_compiled_model_t>(compiled, api.ov_compiled_model_free);
  ov_infer_request_t* request = nullptr;
  if (const ov_status_e s = api.ov_compiled_model_create_infer_request(compiled, &request); s != ov_status_e::OK) {
    return made->failed("no infer request", s);
  }
  made->request_ = Handle<ov_infer_request_t>(request, api.ov_infer_request_free);
  made->inputs_.resize(model.inputs_.size());
  made->outputs_.resize(model.outputs_.size());
  *instance = std::move(made);
  return {};
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
  if (!usable) return bind_own_output(index);
  Binding& binding = outputs_[index];
  if (is_dynamic(port.description)) {
    std::size_t size = 0;
    std::byte* mark = mark_of(room.data, bytes, &size);
    std::memcpy(mark, kUnwritten.data(), size);
  }
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
  ov_tensor_t* raw = nullptr;
  ov_status_e status =
      api_.ov_tensor_create(static_cast<ov_element_type_e>(port.type->openvino), shape_of(&shape), &raw);
  if (status != ov_status_e::OK) return failed("no tensor for output '" + port.name + "'", status);
  Handle<ov_tensor_t> tensor(raw, api_.ov_tensor_free);
  status = api_.ov_infer_request_set_output_tensor_by_index(request_.get(), index, raw);
  if (status != ov_status_e::OK) return failed("output '" + port.name + "' cannot be bound", status);
  binding = {std::move(tensor), nullptr, 0, shape};
  return {};
}

bool Instance::unwritten(const servoir_buffer* outputs) const {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Binding& binding = outputs_[i];
    if (binding.data == nullptr || !is_dynamic(model_.outputs_[i].description)) continue;
    if (outputs[i].data != binding.data || outputs[i].bytes != binding.bytes) continue;  // smaller, and told so
    std::size_t size = 0;
    const std::byte* mark = mark_of(binding.data, binding.bytes, &size);
    if (std::memcmp(mark, kUnwritten.data(), size) == 0) return true;
  }
  return false;
}

Failure Instance::read_output(std::size_t index, servoir_buffer* buffer) {
  const Port& port = model_.outputs_[index];
  ov_tensor_t* raw = nullptr;
  ov_status_e status = api_.ov_infer_request_get_output_tensor_by_index(request_.get(), index, &raw);
  if (status != ov_status_e::OK) return failed("output '" + port.name + "' is not there", status);
  const Handle<ov_tensor_t> tensor(raw, api_.ov_tensor_free);
  ov_shape_t shape{};
  status = api_.ov_tensor_get_shape(raw, &shape);
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
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (Failure f = bind_input(i, inputs[i]); f.failed()) return f;
  }
  bool rooms = false;
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (Failure f = bind_output(i, outputs[i]); f.failed()) return f;
    rooms = rooms || outputs_[i].data != nullptr;
  }
  Failure failure = run(outputs);
  if (rooms && (failure.failed() || unwritten(outputs))) {
    // A result that has another shape than expected does not fit its room.
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      if (Failure f = bind_own_output(i); f.failed()) return f;
    }
    failure = run(outputs);
  }
  if (failure.failed()) {
    // A request that failed half-way may have let go of tensors.
    for (Binding& binding : inputs_) binding = {};
    for (Binding& binding : outputs_) binding = {};
  }
  return failure;
}

Failure Instance::run(servoir_buffer* outputs) {
  if (const ov_status_e status = api_.ov_infer_request_infer(request_.get()); status != ov_status_e::OK) {
    return failed("OpenVINO failed", status);
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (Failure f = read_output(i, &outputs[i]); f.failed()) return f;
  }
  return {};
}

}  // namespace servoir::openvino
