// OpenVINO's C functions, resolved when the plug-in is initialised.
//
// The plug-in is compiled against the headers of some OpenVINO release and used with another release, so it takes from
// the headers only what has been the same since 2024.6: the signatures below, ov_shape_t, ov_partial_shape_t,
// ov_version_t. Numbers of enumerations are not (see element_types.h). An Api is never changed after open(); any thread
// may use it.
#pragma once

#include <openvino/c/openvino.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "element_types.h"

namespace servoir::openvino {

#define SERVOIR_OPENVINO_FUNCTIONS(X)            \
  X(ov_get_openvino_version)                     \
  X(ov_version_free)                             \
  X(ov_get_error_info)                           \
  X(ov_free)                                     \
  X(ov_core_create)                              \
  X(ov_core_free)                                \
  X(ov_core_get_available_devices)               \
  X(ov_available_devices_free)                   \
  X(ov_core_read_model)                          \
  X(ov_core_read_model_from_memory_buffer)       \
  X(ov_core_compile_model)                       \
  X(ov_model_free)                               \
  X(ov_model_inputs_size)                        \
  X(ov_model_outputs_size)                       \
  X(ov_model_const_input_by_index)               \
  X(ov_model_const_output_by_index)              \
  X(ov_output_const_port_free)                   \
  X(ov_port_get_any_name)                        \
  X(ov_port_get_partial_shape)                   \
  X(ov_port_get_element_type)                    \
  X(ov_partial_shape_free)                       \
  X(ov_shape_free)                               \
  X(ov_compiled_model_free)                      \
  X(ov_compiled_model_create_infer_request)      \
  X(ov_infer_request_free)                       \
  X(ov_infer_request_set_input_tensor_by_index)  \
  X(ov_infer_request_set_output_tensor_by_index) \
  X(ov_infer_request_get_output_tensor_by_index) \
  X(ov_infer_request_infer)                      \
  X(ov_tensor_create)                            \
  X(ov_tensor_create_from_host_ptr)              \
  X(ov_tensor_get_shape)                         \
  X(ov_tensor_get_byte_size)                     \
  X(ov_tensor_data)                              \
  X(ov_tensor_free)

// What every OpenVINO has, whatever its version.
inline constexpr const char* kVersionFunction = "ov_get_openvino_version";

class Api {
 public:
  // Loads the library and resolves everything; on failure null, with the reason in *why.
  static std::unique_ptr<Api> open(const char* library, std::string* why);
  ~Api();
  // The library stays loaded when this object goes: OpenVINO's thread pools may outlive everything made with it.
  void keep_loaded() { library_ = nullptr; }
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

#define SERVOIR_DECLARE(function) decltype(&::function) function = nullptr;
  SERVOIR_OPENVINO_FUNCTIONS(SERVOIR_DECLARE)
#undef SERVOIR_DECLARE

  [[nodiscard]] const std::string& version() const { return version_; }
  [[nodiscard]] const ElementTypes& types() const { return *types_; }
  // ov_tensor_get_shape(), also for tensors without dimensions, which that function refuses.
  [[nodiscard]] ov_status_e shape_of(const ov_tensor_t* tensor, std::size_t element_bytes, ov_shape_t* shape) const;
  // Why the call that returned `status` failed: the runtime's message if it has one, else the status in words.
  [[nodiscard]] std::string reason(ov_status_e status) const;

 private:
  Api() = default;
  [[nodiscard]] bool read_version(std::string* why);
  [[nodiscard]] bool resolve(std::string* why);
  [[nodiscard]] bool verify_types(std::string* why) const;

  void* library_ = nullptr;
  const char* (*last_message_)() = nullptr;  // not in every release
  std::string version_;
  const ElementTypes* types_ = nullptr;
};

// Owns an object of OpenVINO's C interface, which the function for its type frees.
template <typename T>
class Handle {
 public:
  using Free = void (*)(T*);
  Handle() = default;
  Handle(T* object, Free free) : object_(object), free_(free) {}
  Handle(Handle&& other) noexcept : object_(std::exchange(other.object_, nullptr)), free_(other.free_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(object_, other.object_);
    std::swap(free_, other.free_);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (object_ != nullptr) free_(object_);
  }
  [[nodiscard]] T* get() const { return object_; }

 private:
  T* object_ = nullptr;
  Free free_ = nullptr;
};

}  // namespace servoir::openvino
