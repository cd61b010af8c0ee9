// A plug-in whose models tell what they were opened with by the names of their inputs. The model "bfloat16" gives its
// input back, the others run nothing.
//
// FAKE_TABLE_BYTES: the struct_bytes of its table. FAKE_INTERFACE: its interface version. FAKE_LIBRARY: its runtime is
// libthing.so, whose version has to be 1 or 2; else it needs no library.
#define SERVOIR_BUILDS_BACKEND
#include <dlfcn.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "servoir/backend.h"

struct servoir_runtime {
  std::string version = "1.0";
};
struct servoir_model {
  std::vector<std::string> inputs;
};
struct servoir_instance {
  std::vector<std::uint16_t> result;
};

namespace {

std::uint32_t refuse(const char* text, servoir_error* error) noexcept {
  std::strncpy(error->text, text, SERVOIR_ERROR_BYTES - 1);
  return SERVOIR_INVALID_ARGUMENT;
}

#if defined(FAKE_LIBRARY)
std::uint32_t initialise(const char* const* libraries, std::uint64_t count, servoir_runtime** runtime,
                         servoir_error* error) noexcept {
  static servoir_runtime only;
  void* library = count == 1 ? ::dlopen(libraries[0], RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (library == nullptr) return refuse("cannot be opened", error);
  const int version = reinterpret_cast<int (*)()>(::dlsym(library, "thing_version"))();
  if (version != 1 && version != 2) {
    ::dlclose(library);
    return refuse(("is version " + std::to_string(version) + "; 1 or 2 is needed").c_str(), error);
  }
  only.version = std::to_string(version) + ".0";
  *runtime = &only;
  return SERVOIR_OK;
}
constexpr const char* kLibraries[] = {"libthing.so", nullptr};
constexpr const char* kSymbols[] = {"thing_version", nullptr};
#else
std::uint32_t initialise(const char* const*, std::uint64_t, servoir_runtime** runtime, servoir_error*) noexcept {
  static servoir_runtime only;
  *runtime = &only;
  return SERVOIR_OK;
}
constexpr const char* kLibraries[] = {nullptr};
constexpr const char* kSymbols[] = {nullptr};
#endif
const char* runtime_version(const servoir_runtime* runtime) noexcept { return runtime->version.c_str(); }
std::uint32_t devices(servoir_runtime*, char* names, std::uint64_t bytes, servoir_error*) noexcept {
  std::strncpy(names, "CPU\nTHING.1", bytes - 1);
  return SERVOIR_OK;
}
void shut_down(servoir_runtime*) noexcept {}

std::uint32_t open_model(servoir_runtime*, const char* const* paths, std::uint64_t count, const servoir_option* options,
                         std::uint64_t option_count, servoir_model** model, servoir_error* error) noexcept {
  if (std::strcmp(paths[0], "bad") == 0) return refuse("bad is no model", error);
  auto made = std::make_unique<servoir_model>();
  for (std::uint64_t i = 0; i < count; ++i) made->inputs.push_back(std::string("path ") + paths[i]);
  for (std::uint64_t i = 0; i < option_count; ++i) {
    made->inputs.push_back(std::string(options[i].key) + "=" + options[i].value);
  }
  *model = made.release();
  return SERVOIR_OK;
}

std::uint32_t open_model_in_memory(servoir_runtime*, const servoir_content* contents, std::uint64_t count,
                                   const servoir_option* options, std::uint64_t option_count, servoir_model** model,
                                   servoir_error* error) noexcept {
  if (contents[0].bytes == 0) return refuse("there is nothing in the file", error);
  auto made = std::make_unique<servoir_model>();
  for (std::uint64_t i = 0; i < count; ++i) {
    made->inputs.push_back(std::string(contents[i].name) + ": " +
                           std::string(static_cast<const char*>(contents[i].data), contents[i].bytes));
  }
  for (std::uint64_t i = 0; i < option_count; ++i) {
    made->inputs.push_back(std::string(options[i].key) + "=" + options[i].value);
  }
  *model = made.release();
  return SERVOIR_OK;
}

std::uint64_t input_count(const servoir_model* model) noexcept { return model->inputs.size(); }
bool is_bfloat16(const servoir_model& model) noexcept { return model.inputs[0] == "path bfloat16"; }
std::uint64_t output_count(const servoir_model* model) noexcept { return is_bfloat16(*model) ? 1 : 0; }
void input(const servoir_model* model, std::uint64_t index, servoir_port* port) noexcept {
  // A type that the interface does not have, though Servoir does.
  const std::uint32_t type = model->inputs[index] == "path texts" ? SERVOIR_FLOAT64 + 1 : SERVOIR_FLOAT32;
  *port = {model->inputs[index].c_str(), type, 0, {}};
  if (is_bfloat16(*model)) *port = {"x", SERVOIR_BFLOAT16, 1, {SERVOIR_DYNAMIC}};
}
void output(const servoir_model*, std::uint64_t, servoir_port* port) noexcept {
  *port = {"y", SERVOIR_BFLOAT16, 1, {SERVOIR_DYNAMIC}};
}
void close_model(servoir_model* model) noexcept { const std::unique_ptr<servoir_model> owned(model); }

std::uint32_t create_instance(servoir_model*, const char* device, servoir_instance** instance,
                              servoir_error* error) noexcept {
  if (std::strcmp(device, "CPU") != 0) return refuse("there is no such device", error);
  *instance = std::make_unique<servoir_instance>().release();
  return SERVOIR_OK;
}
std::uint32_t execute(servoir_instance* instance, const servoir_buffer* inputs, std::uint64_t, servoir_buffer* outputs,
                      std::uint64_t output_count, servoir_error* error) noexcept {
  if (output_count == 0) return SERVOIR_OK;
  const servoir_buffer& x = inputs[0];
  if (x.dtype != SERVOIR_BFLOAT16 || x.data == nullptr || x.bytes != 2 * static_cast<std::uint64_t>(x.dims[0])) {
    return refuse("the input is not bfloat16", error);
  }
  if (outputs[0].data != nullptr) return refuse("there is a room, which would have to be of bfloat16", error);
  const auto* begin = static_cast<const std::uint16_t*>(x.data);
  instance->result.assign(begin, begin + x.dims[0]);
  instance->result.reserve(1);
  outputs[0] = x;
  outputs[0].data = instance->result.data();
  return SERVOIR_OK;
}
void destroy_instance(servoir_instance* instance) noexcept { const std::unique_ptr<servoir_instance> owned(instance); }

constexpr servoir_backend kBackend = {FAKE_INTERFACE,       FAKE_TABLE_BYTES, "fake",    kLibraries,
                                      initialise,           runtime_version,  shut_down, open_model,
                                      input_count,          output_count,     input,     output,
                                      close_model,          create_instance,  execute,   destroy_instance,
                                      open_model_in_memory, kSymbols,         devices};

}  // namespace

extern "C" const servoir_backend* servoir_backend_v1(void) { return &kBackend; }
