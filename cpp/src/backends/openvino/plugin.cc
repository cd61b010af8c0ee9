// The OpenVINO plug-in: its C library, opened when the plug-in is told where it is.
#include "plugin/plugin.h"

#include <utility>

#include "api.h"
#include "model.h"

namespace servoir::openvino {
namespace {

class Runtime final : public plugin::Runtime {
 public:
  Runtime(std::unique_ptr<Api> api, ov_core_t* core) : api_(std::move(api)), core_(core, api_->ov_core_free) {}

  [[nodiscard]] const std::string& version() const override { return api_->version(); }

  Failure open(const std::vector<const char*>& paths, Options options, std::unique_ptr<plugin::Model>* model) override {
    const char* weights = paths.size() > 1 ? paths[1] : nullptr;
    return Model::open(*api_, core_.get(), paths[0], weights, std::move(options), model);
  }

  Failure open_in_memory(const std::vector<servoir_content>& files, Options options,
                         std::unique_ptr<plugin::Model>* model) override {
    const servoir_content* weights = files.size() > 1 ? &files[1] : nullptr;
    return Model::open(*api_, core_.get(), files[0], weights, std::move(options), model);
  }

  Failure devices(std::string* names) override {
    ov_available_devices_t available{};
    if (const ov_status_e status = api_->ov_core_get_available_devices(core_.get(), &available);
        status != ov_status_e::OK) {
      return {SERVOIR_INTERNAL, "cannot tell its devices: " + api_->reason(status)};
    }
    for (std::size_t i = 0; i < available.size; ++i) *names += std::string(i == 0 ? "" : "\n") + available.devices[i];
    api_->ov_available_devices_free(&available);
    return {};
  }

 private:
  std::unique_ptr<Api> api_;
  Handle<ov_core_t> core_;  // before api_ in destruction
};

Failure initialise(const char* library, std::unique_ptr<plugin::Runtime>* runtime) {
  std::string why;
  std::unique_ptr<Api> api = Api::open(library, &why);
  if (!api) return {SERVOIR_FAILED_PRECONDITION, why};
  ov_core_t* core = nullptr;
  if (const ov_status_e status = api->ov_core_create(&core); status != ov_status_e::OK) {
    return {SERVOIR_FAILED_PRECONDITION, "cannot be started: " + api->reason(status)};
  }
  api->keep_loaded();
  *runtime = std::make_unique<Runtime>(std::move(api), core);
  return {};
}

// OpenVINO's wheels have the library only under the name with the version.
constexpr const char* kLibraries[] = {"libopenvino_c.so", "libopenvino_c.so.*", nullptr};
constexpr const char* kSymbols[] = {kVersionFunction, nullptr};

}  // namespace
}  // namespace servoir::openvino

namespace servoir::plugin {
const Plugin kPlugin = {"openvino", openvino::kLibraries, openvino::kSymbols, openvino::initialise};
}  // namespace servoir::plugin
