// What every native backend is made of, in C++: a runtime, the models that it opens, and instances of them that run.
// plugin.cc puts the C functions of servoir/backend.h on top; it is compiled into each plug-in, which then says with
// kPlugin what it is.
//
// Called by one thread at a time for each object, which lets no exception out (plugin.cc ends the process if there is
// an exception). A model outlives its instances, a runtime its models.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "servoir/backend.h"

namespace servoir::plugin {

// What went wrong, and its code; empty if all is well.
struct Failure {
  std::uint32_t code = SERVOIR_OK;
  std::string text;
  [[nodiscard]] bool failed() const { return code != SERVOIR_OK; }
};

using Options = std::vector<std::pair<std::string, std::string>>;

class Instance {
 public:
  Instance() = default;
  virtual ~Instance() = default;
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // See execute() in backend.h.
  virtual Failure execute(const servoir_buffer* inputs, std::uint64_t input_count, servoir_buffer* outputs,
                          std::uint64_t output_count) = 0;
};

class Model {
 public:
  Model() = default;
  virtual ~Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  [[nodiscard]] virtual std::uint64_t input_count() const = 0;
  [[nodiscard]] virtual std::uint64_t output_count() const = 0;
  [[nodiscard]] virtual const servoir_port& input(std::uint64_t index) const = 0;
  [[nodiscard]] virtual const servoir_port& output(std::uint64_t index) const = 0;
  virtual Failure create_instance(const char* device, std::unique_ptr<Instance>* instance) = 0;
};

class Runtime {
 public:
  Runtime() = default;
  virtual ~Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  [[nodiscard]] virtual const std::string& version() const = 0;
  // `paths` and `files` have one element at least; the first is the model's.
  virtual Failure open(const std::vector<const char*>& paths, Options options, std::unique_ptr<Model>* model) = 0;
  virtual Failure open_in_memory(const std::vector<servoir_content>& files, Options options,
                                 std::unique_ptr<Model>* model) = 0;
  // The runtime's names of its devices, one a line.
  virtual Failure devices(std::string* names) = 0;
};

struct Plugin {
  const char* name;
  const char* const* library_patterns;  // as in backend.h
  const char* const* library_symbols;
  // `library` is null for a backend that needs none.
  Failure (*initialise)(const char* library, std::unique_ptr<Runtime>* runtime);
};

extern const Plugin kPlugin;

}  // namespace servoir::plugin
