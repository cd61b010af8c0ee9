// NativeBackend: a plug-in (servoir/backend.h) with the runtime it wraps; NativeModel: a model that a NativeBackend has
// opened.
//
// A backend is loaded once and stays for the life of the process (its runtime may have threads of its own). Only one
// thread at a time may load a backend or open a model. Models keep what they need.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "discovery/library_search.h"
#include "native/model.h"
#include "servoir/backend.h"

namespace servoir {

// A file in memory. `name` is for messages.
struct NamedContent {
  std::string name;
  std::span<const std::byte> bytes;
};

// What is known of a backend without loading any of it in this process.
struct BackendReport {
  Status status;  // why it cannot be used
  std::string name;
  std::string version;  // of the runtime
  std::vector<std::string> devices;
  SearchOutcome search;  // empty where the runtime is inside the plug-in
};

class NativeBackend {
 public:
  // Loads the plug-in, then looks for its runtime's library in `places`, in order, then in the loader's own paths. Both
  // are tried with `program` first, in a process of their own; if that cannot be started, search().warning says so.
  // NotFound with every candidate tried and why it was refused.
  static Result<std::shared_ptr<NativeBackend>> load(const std::string& plugin, std::vector<SearchPlace> places,
                                                     const TrialProgram& program);

  // Looks for the same library and only tries it.
  static BackendReport examine(const std::string& plugin, std::vector<SearchPlace> places, const TrialProgram& program);

  using Options = std::vector<std::pair<std::string, std::string>>;
  // paths[0] is the model's file, the others belong to it. The model is ready to run on `device`.
  [[nodiscard]] Result<std::unique_ptr<Model>> open(const std::vector<std::string>& paths, const std::string& device,
                                                    const Options& options) const;
  // The same for files in memory, which need only live until this returns. Unimplemented if the plug-in cannot do that.
  [[nodiscard]] Result<std::unique_ptr<Model>> open_in_memory(const std::vector<NamedContent>& files,
                                                              const std::string& device, const Options& options) const;

  [[nodiscard]] std::string name() const { return table_->name; }
  [[nodiscard]] std::string version() const { return table_->runtime_version(runtime_); }
  // The library in use, and what was tried before it.
  [[nodiscard]] const SearchOutcome& search() const { return search_; }

 private:
  NativeBackend() = default;
  const servoir_backend* table_ = nullptr;
  servoir_runtime* runtime_ = nullptr;
  SearchOutcome search_;
};

}  // namespace servoir
