// A model read by OpenCV's dnn module, and an instance of it that runs.
//
// A Model keeps the file and what it says of its inputs and outputs; it is not changed after open(). An Instance has a
// network of its own (one is made for one batch at a time). Inputs are handed over where they lie; OpenCV keeps outputs
// in tensors of its own, from where they are copied into the caller's rooms, or which the caller reads where it gave
// no room. OpenCV is linked into the plug-in, so there is no runtime to look for; its number of threads is one for the
// process, and set before each batch.
#pragma once

#include <cstdint>
#include <memory>
#include <opencv2/dnn.hpp>
#include <string>
#include <utility>
#include <vector>

#include "plugin/plugin.h"
#include "servoir/backend.h"

namespace servoir::opencv_dnn {

using plugin::Failure;
using plugin::Options;

struct Port {
  std::string name;
  int type = -1;               // OpenCV's
  servoir_port description{};  // its name points to the string above
};

class Model final : public plugin::Model {
 public:
  static Failure open(const char* path, const Options& options, std::unique_ptr<plugin::Model>* model);
  // `name` is for messages.
  static Failure open(const char* name, const void* data, std::uint64_t bytes, const Options& options,
                      std::unique_ptr<plugin::Model>* model);

  [[nodiscard]] std::uint64_t input_count() const override { return inputs_.size(); }
  [[nodiscard]] std::uint64_t output_count() const override { return outputs_.size(); }
  [[nodiscard]] const servoir_port& input(std::uint64_t index) const override { return inputs_[index].description; }
  [[nodiscard]] const servoir_port& output(std::uint64_t index) const override { return outputs_[index].description; }
  Failure create_instance(const char* device, std::unique_ptr<plugin::Instance>* instance) override;

 private:
  friend class Instance;
  Model() = default;
  Failure read(const std::string& name, const Options& options);
  [[nodiscard]] Failure make_network(cv::dnn::Net* network) const;
  Failure read_ports(bool inputs, std::vector<Port>* ports) const;

  std::string path_;
  std::vector<char> content_;  // of a file in memory
  bool in_memory_ = false;
  int threads_ = 0;  // 0: OpenCV's own choice
  cv::dnn::Net network_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
};

class Instance final : public plugin::Instance {
 public:
  static Failure create(const Model& model, const std::string& device, std::unique_ptr<plugin::Instance>* instance);

  Failure execute(const servoir_buffer* inputs, std::uint64_t input_count, servoir_buffer* outputs,
                  std::uint64_t output_count) override;

 private:
  explicit Instance(const Model& model) : model_(model) {}
  Failure run(const servoir_buffer* inputs, servoir_buffer* outputs);
  Failure set_input(std::size_t index, const servoir_buffer& buffer);
  Failure give_output(std::size_t index, servoir_buffer* buffer);

  const Model& model_;
  cv::dnn::Net network_;
  bool used_ = false;  // the network has run a batch
  std::vector<std::string> output_names_;
  std::vector<cv::Mat> outputs_;  // of the last batch
};

}  // namespace servoir::opencv_dnn
