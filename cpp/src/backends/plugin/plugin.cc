#define SERVOIR_BUILDS_BACKEND
#include "plugin.h"

#include <algorithm>
#include <cstddef>
#include <utility>

using servoir::plugin::Failure;
using servoir::plugin::kPlugin;
using servoir::plugin::Options;

struct servoir_runtime {
  std::unique_ptr<servoir::plugin::Runtime> runtime;
};
struct servoir_model {
  std::unique_ptr<servoir::plugin::Model> model;
};
struct servoir_instance {
  std::unique_ptr<servoir::plugin::Instance> instance;
};

namespace {

void put(const std::string& text, char* room, std::uint64_t bytes) {
  const std::size_t length = std::min<std::size_t>(text.size(), bytes - 1);
  text.copy(room, length);
  room[length] = '\0';
}

std::uint32_t report(const Failure& failure, servoir_error* error) noexcept {
  put(failure.text, error->text, SERVOIR_ERROR_BYTES);
  return failure.code;
}

// Hands `made` over if all went well.
template <typename Object>
std::uint32_t finish(const Failure& failure, std::unique_ptr<Object> made, Object** object, servoir_error* error) {
  if (failure.failed()) return report(failure, error);
  *object = made.release();
  return SERVOIR_OK;
}

std::uint32_t initialise(const char* const* libraries, std::uint64_t library_count, servoir_runtime** runtime,
                         servoir_error* error) noexcept {
  if (library_count == 0 && kPlugin.library_patterns[0] != nullptr) {
    return report({SERVOIR_INVALID_ARGUMENT, "no library was given"}, error);
  }
  auto made = std::make_unique<servoir_runtime>();
  const Failure failure = kPlugin.initialise(library_count == 0 ? nullptr : libraries[0], &made->runtime);
  return finish(failure, std::move(made), runtime, error);
}

const char* runtime_version(const servoir_runtime* runtime) noexcept { return runtime->runtime->version().c_str(); }

void shut_down(servoir_runtime* runtime) noexcept { const std::unique_ptr<servoir_runtime> owned(runtime); }

Options copy_of(const servoir_option* options, std::uint64_t count) {
  Options copied;
  for (std::uint64_t i = 0; i < count; ++i) copied.emplace_back(options[i].key, options[i].value);
  return copied;
}

std::uint32_t open_model(servoir_runtime* runtime, const char* const* paths, std::uint64_t path_count,
                         const servoir_option* options, std::uint64_t option_count, servoir_model** model,
                         servoir_error* error) noexcept {
  if (path_count == 0) return report({SERVOIR_INVALID_ARGUMENT, "no model file was given"}, error);
  auto made = std::make_unique<servoir_model>();
  const Failure failure =
      runtime->runtime->open({paths, paths + path_count}, copy_of(options, option_count), &made->model);
  return finish(failure, std::move(made), model, error);
}

std::uint32_t open_model_in_memory(servoir_runtime* runtime, const servoir_content* contents,
                                   std::uint64_t content_count, const servoir_option* options,
                                   std::uint64_t option_count, servoir_model** model, servoir_error* error) noexcept {
  if (content_count == 0) return report({SERVOIR_INVALID_ARGUMENT, "no model file was given"}, error);
  auto made = std::make_unique<servoir_model>();
  const Failure failure = runtime->runtime->open_in_memory({contents, contents + content_count},
                                                           copy_of(options, option_count), &made->model);
  return finish(failure, std::move(made), model, error);
}

std::uint64_t input_count(const servoir_model* model) noexcept { return model->model->input_count(); }
std::uint64_t output_count(const servoir_model* model) noexcept { return model->model->output_count(); }
void input(const servoir_model* model, std::uint64_t index, servoir_port* port) noexcept {
  *port = model->model->input(index);
}
void output(const servoir_model* model, std::uint64_t index, servoir_port* port) noexcept {
  *port = model->model->output(index);
}
void close_model(servoir_model* model) noexcept { const std::unique_ptr<servoir_model> owned(model); }

std::uint32_t create_instance(servoir_model* model, const char* device, servoir_instance** instance,
                              servoir_error* error) noexcept {
  auto made = std::make_unique<servoir_instance>();
  const Failure failure = model->model->create_instance(device, &made->instance);
  return finish(failure, std::move(made), instance, error);
}

std::uint32_t execute(servoir_instance* instance, const servoir_buffer* inputs, std::uint64_t inputs_given,
                      servoir_buffer* outputs, std::uint64_t outputs_given, servoir_error* error) noexcept {
  const Failure failure = instance->instance->execute(inputs, inputs_given, outputs, outputs_given);
  return failure.failed() ? report(failure, error) : SERVOIR_OK;
}

void destroy_instance(servoir_instance* instance) noexcept { const std::unique_ptr<servoir_instance> owned(instance); }

std::uint32_t devices(servoir_runtime* runtime, char* names, std::uint64_t bytes, servoir_error* error) noexcept {
  std::string text;
  if (const Failure failure = runtime->runtime->devices(&text); failure.failed()) return report(failure, error);
  put(text, names, bytes);
  return SERVOIR_OK;
}

}  // namespace

extern "C" const servoir_backend* servoir_backend_v1(void) {
  static const servoir_backend table = {SERVOIR_BACKEND_INTERFACE,
                                        sizeof(servoir_backend),
                                        kPlugin.name,
                                        kPlugin.library_patterns,
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
                                        kPlugin.library_symbols,
                                        devices};
  return &table;
}
