#include "model.h"

#include <cstddef>
#include <cstring>

#include "instance.h"

namespace servoir::openvino {
namespace {

bool is_property(const std::string& key) {
  return !key.empty() && key.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos;
}

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
      const std::string what =
          static_cast<std::uint32_t>(number) == api_.types().text
              ? "has texts, and OpenVINO's C interface gives none back"
              : "has OpenVINO's element type " + std::to_string(static_cast<std::uint32_t>(number));
      return failed(i, "('" + made.name + "') " + what +
                           "; bool, integers of 8 to 64 bits, bfloat16 and float16, 32 and 64 can be served");
    }
    made.description.dtype = made.type->dtype;

    ov_partial_shape_t shape{};
    status = api_.ov_port_get_partial_shape(port.get(), &shape);
    if (status != ov_status_e::OK) return failed(i, "has no shape: " + api_.reason(status));
    // (ov_rank_is_dynamic() says so of tensors without dimensions as well.)
    if (shape.rank.max < 0 || shape.rank.min != shape.rank.max) {
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

Failure Model::create_instance(const char* device, std::unique_ptr<plugin::Instance>* instance) {
  return Instance::create(*this, device, instance);
}

}  // namespace servoir::openvino
