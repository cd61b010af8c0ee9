#include "api.h"

#include <dlfcn.h>

#include <cstddef>
#include <utility>

namespace servoir::openvino {

std::unique_ptr<Api> Api::open(const char* library, std::string* why) {
  std::unique_ptr<Api> api(new Api());  // NOLINT: the constructor is private
  api->library_ = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (api->library_ == nullptr) {
    const char* text = ::dlerror();
    *why = std::string("cannot be loaded: ") + (text != nullptr ? text : "no reason given");
    return nullptr;
  }
  if (!api->read_version(why) || !api->resolve(why) || !api->verify_types(why)) return nullptr;
  return api;
}

Api::~Api() {
  if (library_ != nullptr) ::dlclose(library_);
}

bool Api::read_version(std::string* why) {
  // This comes first, so that every refusal can name the version.
  const auto version_of = reinterpret_cast<decltype(ov_get_openvino_version)>(::dlsym(library_, kVersionFunction));
  const auto free_version = reinterpret_cast<decltype(ov_version_free)>(::dlsym(library_, "ov_version_free"));
  if (version_of == nullptr || free_version == nullptr) {
    *why = std::string("has no function ") + (version_of == nullptr ? kVersionFunction : "ov_version_free") +
           ": it is no OpenVINO of 2024.6 or newer";
    return false;
  }
  ov_version_t version{};
  if (const ov_status_e status = version_of(&version); status != ov_status_e::OK) {
    *why = "does not tell its version: OpenVINO's status " + std::to_string(static_cast<int>(status));
    return false;
  }
  version_ = version.buildNumber != nullptr ? version.buildNumber : "";
  free_version(&version);
  types_ = element_types_of(version_);
  if (types_ == nullptr) {
    *why = "is version '" + version_ + "'; OpenVINO 2024.6 or newer is needed";
    return false;
  }
  return true;
}

bool Api::resolve(std::string* why) {
#define SERVOIR_RESOLVE(name)                                                                                 \
  name = reinterpret_cast<decltype(name)>(::dlsym(library_, #name));                                          \
  if (name == nullptr) {                                                                                      \
    *why = "is version '" + version_ + "' and has no function " #name "; OpenVINO 2024.6 or newer is needed"; \
    return false;                                                                                             \
  }
  SERVOIR_OPENVINO_FUNCTIONS(SERVOIR_RESOLVE)
#undef SERVOIR_RESOLVE
  last_message_ = reinterpret_cast<decltype(last_message_)>(::dlsym(library_, "ov_get_last_err_msg"));
  return true;
}

bool Api::verify_types(std::string* why) const {
  alignas(8) std::byte memory[24] = {};
  std::int64_t dims[1] = {3};
  for (const ElementType& type : types_->types) {
    ov_tensor_t* tensor = nullptr;
    std::size_t bytes = 0;
    const ov_shape_t shape{1, dims};
    if (ov_tensor_create_from_host_ptr(static_cast<ov_element_type_e>(type.openvino), shape, memory, &tensor) ==
        ov_status_e::OK) {
      (void)ov_tensor_get_byte_size(tensor, &bytes);
      ov_tensor_free(tensor);
    }
    if (bytes != 3 * static_cast<std::size_t>(type.bytes)) {
      *why = "is version '" + version_ +
             "', whose numbers of element types this build of Servoir does not know: type " +
             std::to_string(type.openvino) + " should have " + std::to_string(type.bytes) +
             " bytes an element; a newer Servoir, or another OpenVINO, is needed";
      return false;
    }
  }
  return true;
}

ov_status_e Api::shape_of(const ov_tensor_t* tensor, std::size_t element_bytes, ov_shape_t* shape) const {
  const ov_status_e status = ov_tensor_get_shape(tensor, shape);
  if (status == ov_status_e::OK) return status;
  std::size_t bytes = 0;  // of the one element
  if (ov_tensor_get_byte_size(tensor, &bytes) != ov_status_e::OK || bytes != element_bytes) return status;
  *shape = {};
  return ov_status_e::OK;
}

std::string Api::reason(ov_status_e status) const {
  const char* message = last_message_ != nullptr ? last_message_() : nullptr;
  if (message != nullptr && *message != '\0') return message;
  const char* words = ov_get_error_info(status);
  return words != nullptr ? words : "OpenVINO's status " + std::to_string(static_cast<int>(status));
}

}  // namespace servoir::openvino
