#include "native/native_backend.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "discovery/elf_file.h"
#include "discovery/plugin_table.h"
#include "tensor/half.h"

namespace servoir {
namespace {

Code code_of(std::uint32_t code) {
  return code >= 1 && code <= static_cast<std::uint32_t>(Code::kDataLoss) ? static_cast<Code>(code) : Code::kInternal;
}

// The text comes from a plug-in, which may have forgotten the NUL at its end.
std::string text_of(const servoir_error& error) { return {error.text, ::strnlen(error.text, sizeof(error.text))}; }

// The interface has no texts. The types that it has bear the same numbers as here.
bool is_of_interface(std::uint32_t type) {
  return (type >= SERVOIR_BOOL && type <= SERVOIR_FLOAT64) || type == SERVOIR_BFLOAT16;
}
static_assert(static_cast<std::uint32_t>(DataType::kBool) == SERVOIR_BOOL &&
              static_cast<std::uint32_t>(DataType::kInt32) == SERVOIR_INT32 &&
              static_cast<std::uint32_t>(DataType::kFloat64) == SERVOIR_FLOAT64 &&
              static_cast<std::uint32_t>(DataType::kBfloat16) == SERVOIR_BFLOAT16);

Result<Port> port_of(const servoir_port& port, const std::string& place) {
  Port made;
  made.name = port.name != nullptr ? port.name : "";
  if (!is_of_interface(port.dtype)) {
    return Status::Unimplemented(place + " '" + made.name + "' has the element type " + std::to_string(port.dtype) +
                                 ", which native backends cannot have: bool, integers of 8 to 64 bits, bfloat16 and "
                                 "float16, 32 and 64 can be served");
  }
  made.dtype = static_cast<DataType>(port.dtype);
  made.rank_known = port.rank != SERVOIR_UNKNOWN_RANK;
  if (!made.rank_known) return made;
  if (port.rank > kMaxRank) {
    return Status::Unimplemented(place + " '" + made.name + "' has " + std::to_string(port.rank) +
                                 " dimensions, at most " + std::to_string(kMaxRank) + " can be served");
  }
  made.shape.rank = port.rank;
  for (std::uint32_t i = 0; i < port.rank; ++i) made.shape.dims[i] = port.dims[i] < 0 ? kDynamic : port.dims[i];
  return made;
}

// `tensor`: a ModelInput or ModelOutput.
template <typename Tensor>
void put(const Tensor& tensor, servoir_buffer* buffer) {
  static_assert(kMaxRank == SERVOIR_MAX_RANK);
  buffer->data = tensor.data;
  buffer->bytes = tensor.bytes;
  buffer->dtype = static_cast<std::uint32_t>(tensor.dtype);
  buffer->rank = tensor.shape.rank;
  std::copy(tensor.shape.dims.begin(), tensor.shape.dims.end(), buffer->dims);
}

// NumPy and the clients have no bfloat16, so such a tensor is float32 outside of the plug-in. These two functions
// convert between the types. A tensor without elements still has a valid pointer.
void round_to_bfloat16(servoir_buffer* tensor, std::vector<std::uint16_t>* memory) {
  const auto* from = static_cast<const float*>(tensor->data);
  const std::size_t count = tensor->bytes / sizeof(float);
  memory->resize(std::max<std::size_t>(count, 1));
  std::transform(from, from + count, memory->begin(), to_bfloat16);
  tensor->data = memory->data();
  tensor->bytes = count * sizeof(std::uint16_t);
  tensor->dtype = SERVOIR_BFLOAT16;
}

void widen_bfloat16(const ModelOutput& tensor, std::vector<float>* memory, ModelOutput* output) {
  const auto* from = reinterpret_cast<const std::uint16_t*>(tensor.data);
  const std::size_t count = tensor.bytes / sizeof(std::uint16_t);
  if (output->data == nullptr || output->bytes < count * sizeof(float)) {
    memory->resize(std::max<std::size_t>(count, 1));
    output->data = reinterpret_cast<std::byte*>(memory->data());
  }
  std::transform(from, from + count, reinterpret_cast<float*>(output->data), from_bfloat16);
  output->bytes = count * sizeof(float);
  output->dtype = DataType::kFloat32;
  output->shape = tensor.shape;
}

std::vector<servoir_option> pairs_of(const NativeBackend::Options& options) {
  std::vector<servoir_option> pairs;
  for (const auto& [key, value] : options) pairs.push_back({key.c_str(), value.c_str()});
  return pairs;
}

class NativeModel final : public Model {
 public:
  // `open_model` calls one of the table's functions that open a model; `name` is that of the model's file.
  template <typename OpenModel>
  static Result<std::unique_ptr<Model>> open(const servoir_backend* table, const std::string& name,
                                             const std::string& device, OpenModel open_model) {
    std::unique_ptr<NativeModel> made(new NativeModel(table));  // NOLINT: the constructor is private
    servoir_error error{};
    std::uint32_t code = open_model(&made->model_, &error);
    if (code != SERVOIR_OK) return Status(code_of(code), text_of(error));
    SERVOIR_RETURN_IF_ERROR(made->read_ports(name));
    code = table->create_instance(made->model_, device.c_str(), &made->instance_, &error);
    if (code != SERVOIR_OK) return Status(code_of(code), (name.empty() ? "" : name + ": ") + text_of(error));
    return std::unique_ptr<Model>(std::move(made));
  }

  ~NativeModel() override {
    if (instance_ != nullptr) table_->destroy_instance(instance_);
    if (model_ != nullptr) table_->close_model(model_);
  }
  NativeModel(const NativeModel&) = delete;
  NativeModel& operator=(const NativeModel&) = delete;

  [[nodiscard]] const std::vector<Port>& inputs() const override { return inputs_; }
  [[nodiscard]] const std::vector<Port>& outputs() const override { return outputs_; }

  [[nodiscard]] Status execute(std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) override {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      put(inputs[i], &in_[i]);
      if (rounded_[i]) round_to_bfloat16(&in_[i], &*rounded_[i]);
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      put(outputs[i], &out_[i]);
      if (!outputs[i].expected) out_[i].rank = SERVOIR_UNKNOWN_RANK;
      if (!widened_[i]) continue;
      out_[i].data = nullptr;
      out_[i].bytes = 0;
      out_[i].dtype = SERVOIR_BFLOAT16;
    }
    error_.text[0] = '\0';
    const std::uint32_t code = table_->execute(instance_, in_.data(), in_.size(), out_.data(), out_.size(), &error_);
    if (code != SERVOIR_OK) return {code_of(code), text_of(error_)};
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      ModelOutput narrow;
      SERVOIR_RETURN_IF_ERROR(take(out_[i], outputs_[i], widened_[i] ? &narrow : &outputs[i]));
      if (!widened_[i]) continue;
      if (narrow.dtype != DataType::kBfloat16) {
        return Status::Internal("output '" + outputs_[i].name + "' came back as " + std::string(name_of(narrow.dtype)) +
                                ", not as the bfloat16 that it is");
      }
      widen_bfloat16(narrow, &*widened_[i], &outputs[i]);
    }
    return Status::Ok();
  }

 private:
  explicit NativeModel(const servoir_backend* table) : table_(table) {}

  Status read_ports(const std::string& path) {
    for (std::uint64_t i = 0; i < table_->input_count(model_); ++i) {
      servoir_port port{};
      table_->input(model_, i, &port);
      SERVOIR_ASSIGN_OR_RETURN(Port made, port_of(port, path + ": input " + std::to_string(i)));
      rounded_.emplace_back();
      if (is_widened(&made)) rounded_.back().emplace();
      inputs_.push_back(std::move(made));
    }
    for (std::uint64_t i = 0; i < table_->output_count(model_); ++i) {
      servoir_port port{};
      table_->output(model_, i, &port);
      SERVOIR_ASSIGN_OR_RETURN(Port made, port_of(port, path + ": output " + std::to_string(i)));
      widened_.emplace_back();
      if (is_widened(&made)) widened_.back().emplace();
      outputs_.push_back(std::move(made));
    }
    in_.resize(inputs_.size());
    out_.resize(outputs_.size());
    return Status::Ok();
  }

  // Makes a port of bfloat16 one of float32.
  static bool is_widened(Port* port) {
    if (port->dtype != DataType::kBfloat16) return false;
    port->dtype = DataType::kFloat32;
    return true;
  }

  // Checks what the plug-in reports before anything is copied by it.
  static Status take(const servoir_buffer& buffer, const Port& port, ModelOutput* output) {
    if (buffer.rank > kMaxRank || !is_of_interface(buffer.dtype)) {
      return Status::Internal("output '" + port.name + "' came back without a type or shape");
    }
    output->dtype = static_cast<DataType>(buffer.dtype);
    output->shape.rank = buffer.rank;
    output->shape.dims.fill(0);
    std::copy_n(buffer.dims, buffer.rank, output->shape.dims.begin());
    SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t bytes, output->shape.byte_size(output->dtype));
    if (bytes != buffer.bytes || (bytes != 0 && buffer.data == nullptr) ||
        (buffer.data == output->data && bytes > output->bytes)) {
      return Status::Internal("output '" + port.name + "' came back with " + std::to_string(buffer.bytes) +
                              " bytes for shape " + output->shape.text());
    }
    output->data = static_cast<std::byte*>(buffer.data);
    output->bytes = bytes;
    return Status::Ok();
  }

  const servoir_backend* table_;
  servoir_model* model_ = nullptr;
  servoir_instance* instance_ = nullptr;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  std::vector<servoir_buffer> in_;
  std::vector<servoir_buffer> out_;
  // Elements of the inputs and outputs that the plug-in has as bfloat16.
  std::vector<std::optional<std::vector<std::uint16_t>>> rounded_;
  std::vector<std::optional<std::vector<float>>> widened_;
  servoir_error error_{};
};

// What the plug-in's trial says of it; OK and empty if the program cannot be started, with a warning.
Result<LibraryReport> try_plugin(const std::string& plugin, const TrialProgram& program, bool devices,
                                 std::string* warning) {
  const std::string place = "the plug-in " + plugin + " ";
  if (auto object = read_shared_object(plugin); !object.ok()) {
    return Status(object.status().code(), place + std::string(object.status().message()));
  }
  if (program.path.empty()) return LibraryReport{};
  LibraryReport report = try_library(program, {"", {}, plugin, devices});
  if (report.status.code() == Code::kUnavailable) {
    *warning = std::string(report.status.message());
    return LibraryReport{};
  }
  if (!report.status.ok()) return Status(report.status.code(), place + std::string(report.status.message()));
  return report;
}

std::vector<std::string> patterns_of(const servoir_backend* table) {
  std::vector<std::string> patterns;
  for (const char* const* pattern = table->library_patterns; pattern != nullptr && *pattern != nullptr; ++pattern) {
    patterns.emplace_back(*pattern);
  }
  return patterns;
}

Status not_found(const LibrarySearch& search, const SearchOutcome& outcome) {
  return Status::NotFound("no usable library of backend '" + search.what + "' (" + search.patterns.front() +
                          "); tried:\n" + outcome.text());
}

}  // namespace

BackendReport NativeBackend::examine(const std::string& plugin, std::vector<SearchPlace> places,
                                     const TrialProgram& program) {
  BackendReport made;
  std::string warning;
  Result<LibraryReport> tried = try_plugin(plugin, program, true, &warning);
  if (tried.ok() && (program.path.empty() || !warning.empty())) {
    tried = Status::Unavailable(warning.empty() ? "there is no program to try it with" : warning);
  }
  if (!tried.ok()) {
    made.status = tried.status();
    return made;
  }
  const LibraryReport& of_plugin = tried.value();
  made.name = of_plugin.backend;
  if (of_plugin.patterns.empty()) {
    made.version = of_plugin.version;
    made.devices = of_plugin.devices;
    return made;
  }
  const LibrarySearch search{of_plugin.backend,
                             of_plugin.patterns,
                             std::move(places),
                             true,
                             of_plugin.patterns,
                             of_plugin.symbols,
                             plugin,
                             true,
                             program};
  made.search = find_library(search, {});
  if (!made.search.found()) {
    made.status = not_found(search, made.search);
    return made;
  }
  made.version = made.search.report.version;
  made.devices = made.search.report.devices;
  return made;
}

Result<std::shared_ptr<NativeBackend>> NativeBackend::load(const std::string& plugin, std::vector<SearchPlace> places,
                                                           const TrialProgram& program) {
  std::string warning;
  SERVOIR_ASSIGN_OR_RETURN(const LibraryReport tried, try_plugin(plugin, program, false, &warning));
  // The library is never closed: a runtime's threads may outlive every model.
  void* library = ::dlopen(plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* text = ::dlerror();
    return Status::NotFound("the plug-in " + plugin + " cannot be loaded: " + (text != nullptr ? text : "no reason"));
  }
  std::string why;
  const servoir_backend* table = plugin_table(library, &why);
  if (table == nullptr) return Status::FailedPrecondition("the plug-in " + plugin + " " + why);
  std::shared_ptr<NativeBackend> made(new NativeBackend());  // NOLINT: the constructor is private
  made->table_ = table;
  made->search_.warning = warning;

  const auto initialise = [&made](const std::vector<const char*>& libraries) {
    servoir_error error{};
    const std::uint32_t code = made->table_->initialise(libraries.data(), libraries.size(), &made->runtime_, &error);
    return code == SERVOIR_OK ? Status::Ok() : Status(code_of(code), text_of(error));
  };
  const std::vector<std::string> patterns = patterns_of(table);
  if (patterns.empty()) {
    SERVOIR_RETURN_IF_ERROR(initialise({}));
    return made;
  }
  const std::vector<const char*> symbols = library_symbols(table);
  const LibrarySearch search{table->name, patterns, std::move(places),
                             true,        patterns, {symbols.begin(), symbols.end()},
                             plugin,      false,    program};
  made->search_ = find_library(search, [&](const std::string& path, const LibraryReport& of_trial) {
    SERVOIR_RETURN_IF_ERROR(initialise({path.c_str()}));
    // The loader takes a library that is loaded already for another one of the same soname.
    if (of_trial.version.empty() || of_trial.version == made->version()) return Status::Ok();
    Status mixed = Status::FailedPrecondition(
        "is version '" + of_trial.version + "', but acts as '" + made->version() +
        "' in this process, which has loaded another copy of a library that it needs; use one of them only");
    table->shut_down(made->runtime_);
    return mixed;
  });
  if (!made->search_.found()) return not_found(search, made->search_);
  return made;
}

Result<std::unique_ptr<Model>> NativeBackend::open(const std::vector<std::string>& paths, const std::string& device,
                                                   const Options& options) const {
  std::vector<const char*> files;
  files.reserve(paths.size());
  for (const std::string& path : paths) files.push_back(path.c_str());
  const std::vector<servoir_option> pairs = pairs_of(options);
  return NativeModel::open(
      table_, paths.empty() ? "" : paths[0], device, [&](servoir_model** model, servoir_error* error) {
        return table_->open_model(runtime_, files.data(), files.size(), pairs.data(), pairs.size(), model, error);
      });
}

Result<std::unique_ptr<Model>> NativeBackend::open_in_memory(const std::vector<NamedContent>& files,
                                                             const std::string& device, const Options& options) const {
  if (!opens_in_memory(table_)) {
    return Status::Unimplemented("the plug-in of backend '" + name() +
                                 "' cannot open a model from memory; build it against this Servoir's backend.h");
  }
  std::vector<servoir_content> contents;
  contents.reserve(files.size());
  for (const NamedContent& file : files) contents.push_back({file.name.c_str(), file.bytes.data(), file.bytes.size()});
  const std::vector<servoir_option> pairs = pairs_of(options);
  return NativeModel::open(table_, files.empty() ? "" : files[0].name, device,
                           [&](servoir_model** model, servoir_error* error) {
                             return table_->open_model_in_memory(runtime_, contents.data(), contents.size(),
                                                                 pairs.data(), pairs.size(), model, error);
                           });
}

}  // namespace servoir
