// The OpenVINO plug-in: the functions of backend.h on top of Api, Model and Instance.
#define SERVOIR_BUILDS_BACKEND
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "api.h"
#include "model.h"
#include "servoir/backend.h"

namespace ov = servoir::openvino;

struct servoir_runtime {
  std::unique_ptr<ov::Api> api;
  ov::Handle<ov_core_t> core;  // before api in destruction
};
struct servoir_model {
  std::unique_ptr<ov::Model> model;
};
struct servoir_instance {
  std::unique_ptr<ov::Instance> instance;
};

namespace {

std::uint32_t report(const ov::Failure& failure, servoir_error* error) noexcept {
  const std::size_t length = std::min<std::size_t>(failure.text.size(), SERVOIR_ERROR_BYTES - 1);
  failure.text.copy(error->text, length);
  error->text[length] = '\0';
  return failure.code;
}

std::uint32_t initialise(const char* const* libraries, std::uint64_t library_count, servoir_runtime** runtime,
                         servoir_error* error) noexcept {
  if (library_count == 0) return report({SERVOIR_INVALID_ARGUMENT, "no library was given"}, error);
  auto made = std::make_unique<servoir_runtime>();
  std::string why;
  made->api = ov::Api::open(libraries[0], &why);
  if (!made->api) return report({SERVOIR_FAILED_PRECONDITION, why}, error);
  ov_core_t* core = nullptr;
  if (const ov_status_e status = made->api->ov_core_create(&core); status != ov_status_e::OK) {
    return report({SERVOIR_FAILED_PRECONDITION, "cannot be started: " + made->api->reason(status)}, error);
  }
  made->core = ov::Handle<ov_core_t>(core, made->api->ov_core_free);
  made->api->keep_loaded();
  *runtime = made.release();
  return SERVOIR_OK;
}

const char* runtime_version(const servoir_runtime* runtime) noexcept { return runtime->api->version().c_str(); }

void shut_down(servoir_runtime* runtime) noexcept { const std::unique_ptr<servoir_runtime> owned(runtime); }

ov::Model::Options copy_of(const servoir_option* options, std::uint64_t count) {
  ov::Model::Options copied;
  for (std::uint64_t i = 0; i < count; ++i) copied.emplace_back(options[i].key, options[i].value);
  return copied;
}

std::uint32_t open_model(servoir_runtime* runtime, const char* const* paths, std::uint64_t path_count,
                         const servoir_option* options, std::uint64_t option_count, servoir_model** model,
                         servoir_error* error) noexcept {
  if (path_count == 0) return report({SERVOIR_INVALID_ARGUMENT, "no model file was given"}, error);
  auto made = std::make_unique<servoir_model>();
  const ov::Failure failure =
      ov::Model::open(*runtime->api, runtime->core.get(), paths[0], path_count > 1 ? paths[1] : nullptr,
                      copy_of(options, option_count), &made->model);
  if (failure.failed()) return report(failure, error);
  *model = made.release();
  return SERVOIR_OK;
}

std::uint32_t open_model_in_memory(servoir_runtime* runtime, const servoir_content* contents,
                                   std::uint64_t content_count, const servoir_option* options,
                                   std::uint64_t option_count, servoir_model** model, servoir_error* error) noexcept {
  if (content_count == 0) return report({SERVOIR_INVALID_ARGUMENT, "no model file was given"}, error);
  auto made = std::make_unique<servoir_model>();
  const ov::Failure failure =
      ov::Model::open(*runtime->api, runtime->core.get(), contents[0], content_count > 1 ? &contents[1] : nullptr,
                      copy_of(options, option_count), &made->model);
  if (failure.failed()) return report(failure, error);
  *model = made.release();
  return SERVOIR_OK;
}

std::uint64_t input_count(const servoir_model* model) noexcept { return model->model->inputs().size(); }
std::uint64_t output_count(const servoir_model* model) noexcept { return model->model->outputs().size(); }
void input(const servoir_model* model, std::uint64_t index, servoir_port* port) noexcept {
  *port = model->model->inputs()[index].description;
}
void output(const servoir_model* model, std::uint64_t index, servoir_port* port) noexcept {
  *port = model->model->outputs()[index].description;
}
void close_model(servoir_model* model) noexcept { const std::unique_ptr<servoir_model> owned(model); }

std::uint32_t create_instance(servoir_model* model, const char* device, servoir_instance** instance,
                              servoir_error* error) noexcept {
  auto made = std::make_unique<servoir_instance>();
  const ov::Failure failure = ov::Instance::create(*model->model, device, &made->instance);
  if (failure.failed()) return report(failure, error);
  *instance = made.release();
  return SERVOIR_OK;
}

std::uint32_t execute(servoir_instance* instance, const servoir_buffer* inputs, std::uint64_t inputs_given,
                      servoir_buffer* outputs, std::uint64_t outputs_given, servoir_error* error) noexcept {
  const ov::Failure failure = instance->instance->execute(inputs, inputs_given, outputs, outputs_given);
  return failure.failed() ? report(failure, error) : SERVOIR_OK;
}

void destroy_instance(servoir_instance* instance) noexcept { const std::unique_ptr<servoir_instance> owned(instance); }

std::uint32_t devices(servoir_runtime* runtime, char* names, std::uint64_t bytes, servoir_error* error) noexcept {
  const ov::Api& api = *runtime->api;
  ov_available_devices_t available{};
  if (const ov_status_e status = api.ov_core_get_available_devices(runtime->core.get(), &available);
      status != ov_status_e::OK) {
    return report({SERVOIR_INTERNAL, "cannot tell its devices: " + api.reason(status)}, error);
  }
  std::string text;
  for (std::size_t i = 0; i < available.size; ++i) text += std::string(i == 0 ? "" : "\n") + available.devices[i];
  api.ov_available_devices_free(&available);
  const std::size_t length = std::min<std::size_t>(text.size(), bytes - 1);
  text.copy(names, length);
  names[length] = '\0';
  return SERVOIR_OK;
}

// The wheels have only the name with the version.
constexpr const char* kLibraries[] = {"libopenvino_c.so", "libopenvino_c.so.*", nullptr};
constexpr const char* kSymbols[] = {ov::kVersionFunction, nullptr};

constexpr servoir_backend kBackend = {SERVOIR_BACKEND_INTERFACE,
                                      sizeof(servoir_backend),
                                      "openvino",
                                      kLibraries,
                                      initialise,
                                      runtime_version,
                                      shut_down,
                                      open_model,
                                      input_count,
                                      output_count,
                                      input,
                                      output,
                                      close_model,
                                      create_instance,
                                      execute,
                                      destroy_instance,
                                      open_model_in_memory,
                                      kSymbols,
                                      devices};

}  // namespace

extern "C" const servoir_backend* servoir_backend_v1(void) { return &kBackend; }
