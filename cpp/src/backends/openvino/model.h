// A model read by OpenVINO: its graph, which is not changed after open(), and what its inputs and outputs are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api.h"
#include "plugin/plugin.h"
#include "servoir/backend.h"

namespace servoir::openvino {

using plugin::Failure;
using plugin::Options;

struct Port {
  std::string name;
  const ElementType* type = nullptr;
  servoir_port description{};  // its name points to the string above
};

class Model final : public plugin::Model {
 public:
  // `api` and `core` outlive the model. `weights` may be null.
  static Failure open(const Api& api, ov_core_t* core, const char* path, const char* weights, Options options,
                      std::unique_ptr<plugin::Model>* model);
  // The same for files in memory; OpenVINO keeps nothing of theirs.
  static Failure open(const Api& api, ov_core_t* core, const servoir_content& file, const servoir_content* weights,
                      Options options, std::unique_ptr<plugin::Model>* model);

  [[nodiscard]] std::uint64_t input_count() const override { return inputs_.size(); }
  [[nodiscard]] std::uint64_t output_count() const override { return outputs_.size(); }
  [[nodiscard]] const servoir_port& input(std::uint64_t index) const override { return inputs_[index].description; }
  [[nodiscard]] const servoir_port& output(std::uint64_t index) const override { return outputs_[index].description; }
  Failure create_instance(const char* device, std::unique_ptr<plugin::Instance>* instance) override;

 private:
  friend class Instance;
  Model(const Api& api, ov_core_t* core) : api_(api), core_(core) {}
  // Takes what OpenVINO has read, or says why it has not.
  static Failure take(const Api& api, ov_core_t* core, const char* name, ov_status_e status, ov_model_t* read,
                      Options options, std::unique_ptr<plugin::Model>* model);
  Failure read_ports(const char* path, bool inputs, std::vector<Port>* ports) const;

  const Api& api_;
  ov_core_t* core_;
  Options options_;
  Handle<ov_model_t> model_;
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
};

}  // namespace servoir::openvino
