// The OpenCV DNN plug-in. There is no library to look for: OpenCV is part of the plug-in.
#include "plugin/plugin.h"

#include <opencv2/core.hpp>

#include "model.h"

namespace servoir::opencv_dnn {
namespace {

Failure refuse_more_files() { return {SERVOIR_INVALID_ARGUMENT, "OpenCV DNN reads a model from one ONNX file"}; }

class Runtime final : public plugin::Runtime {
 public:
  [[nodiscard]] const std::string& version() const override { return version_; }

  Failure open(const std::vector<const char*>& paths, Options options, std::unique_ptr<plugin::Model>* model) override {
    if (paths.size() != 1) return refuse_more_files();
    return Model::open(paths[0], options, model);
  }

  Failure open_in_memory(const std::vector<servoir_content>& files, Options options,
                         std::unique_ptr<plugin::Model>* model) override {
    if (files.size() != 1) return refuse_more_files();
    return Model::open(files[0].name, files[0].data, files[0].bytes, options, model);
  }

  Failure devices(std::string* names) override {
    *names = "CPU";
    return {};
  }

 private:
  const std::string version_ = cv::getVersionString();
};

Failure initialise(const char* /*library*/, std::unique_ptr<plugin::Runtime>* runtime) {
  *runtime = std::make_unique<Runtime>();
  return {};
}

constexpr const char* kLibraries[] = {nullptr};

}  // namespace
}  // namespace servoir::opencv_dnn

namespace servoir::plugin {
const Plugin kPlugin = {"opencv_dnn", opencv_dnn::kLibraries, nullptr, opencv_dnn::initialise};
}  // namespace servoir::plugin
