// The OpenCV DNN plug-in: the functions of backend.h on top of Model and Instance.
#define SERVOIR_BUILDS_BACKEND
#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <opencv2/core.hpp>
#include <string>
#include <string_view>

#include "model.h"
#include "servoir/backend.h"

namespace dnn = servoir::opencv_dnn;

// There is nothing to open: OpenCV is part of the plug-in.
struct servoir_runtime {
  std::string version;
};
struct servoir_model {
  std::unique_ptr<dnn::Model> model;
};
struct servoir_instance {
  std::unique_ptr<dnn::Instance> instance;
};

namespace {

std::uint32_t report(const dnn::Failure& failure, servoir_error* error) noexcept {
  const std::size_t length = std::min<std::size_t>(failure.text.size(), SERVOIR_ERROR_BYTES - 1);
  failure.text.copy(error->text, length);
  error->text[length] = '\0';
  return failure.code;
}

std::uint32_t initialise(const char* const* /*libraries*/, std::uint64_t /*library_count*/, servoir_runtime** runtime,
                         servoir_error* /*error*/) noexcept {
  *runtime = std::make_unique<servoir_runtime>(servoir_runtime{cv::getVersionString()}).release();
  return SERVOIR_OK;
}

const char* runtime_version(const servoir_runtime* runtime) noexcept { return runtime->version.c_str(); }

void shut_down(servoir_runtime* runtime) noexcept { const std::unique_ptr<servoir_runtime> owned(runtime); }

dnn::Model::Options copy_of(const servoir_option* options, std::uint64_t count) {
  dnn::Model::Options copied;
  for (std::uint64_t i = 0; i < count; ++i) copied.emplace_back(options[i].key, options[i].value);
  return copied;
}

std::uint32_t opened(const dnn::Failure& failure, std::unique_ptr<servoir_model> made, servoir_model** model,
                     servoir_error* error) {
  if (failure.failed()) return report(failure, error);
  *model = made.release();
  return SERVOIR_OK;
}

std::uint32_t open_model(servoir_runtime* /*runtime*/, const char* const* paths, std::uint64_t path_count,
                         const servoir_option* options, std::uint64_t option_count, servoir_model** model,
                         servoir_error* error) noexcept {
  if (path_count != 1) return report({SERVOIR_INVALID_ARGUMENT, "OpenCV DNN reads a model from one ONNX file"}, error);
  auto made = std::make_unique<servoir_model>();
  const dnn::Failure failure = dnn::Model::open(paths[0], copy_of(options, option_count), &made->model);
  return opened(failure, std::move(made), model, error);
}

std::uint32_t open_model_in_memory(servoir_runtime* /*runtime*/, const servoir_content* contents,
                                   std::uint64_t content_count, const servoir_option* options,
                                   std::uint64_t option_count, servoir_model** model, servoir_error* error) noexcept {
  if (content_count != 1) {
    return report({SERVOIR_INVALID_ARGUMENT, "OpenCV DNN reads a model from one ONNX file"}, error);
  }
  auto made = std::make_unique<servoir_model>();
  const dnn::Failure failure = dnn::Model::open(contents[0].name, contents[0].data, contents[0].bytes,
                                                copy_of(options, option_count), &made->model);
  return opened(failure, std::move(made), model, error);
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
  const dnn::Failure failure = dnn::Instance::create(*model->model, device, &made->instance);
  if (failure.failed()) return report(failure, error);
  *instance = made.release();
  return SERVOIR_OK;
}

std::uint32_t execute(servoir_instance* instance, const servoir_buffer* inputs, std::uint64_t inputs_given,
                      servoir_buffer* outputs, std::uint64_t outputs_given, servoir_error* error) noexcept {
  const dnn::Failure failure = instance->instance->execute(inputs, inputs_given, outputs, outputs_given);
  return failure.failed() ? report(failure, error) : SERVOIR_OK;
}

void destroy_instance(servoir_instance* instance) noexcept { const std::unique_ptr<servoir_instance> owned(instance); }

std::uint32_t devices(servoir_runtime*, char* names, std::uint64_t bytes, servoir_error*) noexcept {
  constexpr std::string_view kDevices = "CPU";
  const std::size_t length = std::min<std::size_t>(kDevices.size(), bytes - 1);
  kDevices.copy(names, length);
  names[length] = '\0';
  return SERVOIR_OK;
}

constexpr const char* kLibraries[] = {nullptr};

constexpr servoir_backend kBackend = {SERVOIR_BACKEND_INTERFACE,
                                      sizeof(servoir_backend),
                                      "opencv_dnn",
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
                                      nullptr,
                                      devices};

}  // namespace

extern "C" const servoir_backend* servoir_backend_v1(void) { return &kBackend; }
