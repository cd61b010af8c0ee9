// A model read by OpenVINO, and an instance of it compiled for a device.
//
// A Model keeps the graph; it is not changed after open(). An Instance has one compiled model and one infer request,
// and runs one batch at a time. Inputs are read where they lie; an output is written straight into the caller's room
// when the caller knew its shape, else it stays in a tensor of OpenVINO's own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../plugin/plugin.h"
#include "api.h"
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

class Instance final : public plugin::Instance {
 public:
  static Failure create(const Model& model, const char* device, std::unique_ptr<plugin::Instance>* instance);

  Failure execute(const servoir_buffer* inputs, std::uint64_t input_count, servoir_buffer* outputs,
                  std::uint64_t output_count) override;

 private:
  // What a tensor of the request is bound to now. A pool of equal batches comes back to the same memory again and
  // again, so binding is skipped when nothing changed.
  struct Binding {
    Handle<ov_tensor_t> tensor;
    void* data = nullptr;  // null: not bound, or bound to OpenVINO's own memory
    std::uint64_t bytes = 0;
    servoir_buffer shape{};
  };

  explicit Instance(const Model& model) : model_(model), api_(model.api_) {}
  Failure bind_input(std::size_t index, const servoir_buffer& buffer);
  Failure bind_output(std::size_t index, const servoir_buffer& room);
  Failure bind_own_output(std::size_t index);
  // Runs, and reads the outputs if that went well.
  Failure run(servoir_buffer* outputs);
  // Whether a room that was bound for a guessed shape was left as it was.
  [[nodiscard]] bool unwritten(const servoir_buffer* outputs) const;
  Failure read_output(std::size_t index, servoir_buffer* buffer);
  [[nodiscard]] Failure failed(const std::string& what, ov_status_e status) const;

  const Model& model_;
  const Api& api_;
  Handle<ov_compiled_model_t> compiled_;
  Handle<ov_infer_request_t> request_;
  std::vector<Binding> inputs_;
  std::vector<Binding> outputs_;
};

}  // namespace servoir::openvino
