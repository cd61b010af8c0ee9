// A model compiled for a device, with one infer request: it runs one batch at a time.
//
// Inputs are read where they lie; an output is written straight into the caller's room when the caller knew its shape,
// else it stays in a tensor of OpenVINO's own. An output that is an input (also after OpenVINO's optimisation, as when
// only a Dropout lies between) is the same tensor of the request: a room bound to it would become the model's
// input. It is never bound, and read where the input lies.
//
// After a batch that failed inside the graph, releases up to 2026.4 may go on failing for good batches, or give wrong
// results: shapes that depend on values are kept from the batch that failed. So a small batch that went well is kept to
// be run again after each failure; where it no longer gives what it gave, the model is compiled again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "api.h"
#include "mark.h"
#include "model.h"
#include "plugin/plugin.h"
#include "servoir/backend.h"

namespace servoir::openvino {

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

  // A batch that went well: its tensors, and copies of what was in them.
  struct Witness {
    struct Tensor {
      servoir_buffer form{};
      std::vector<std::byte> bytes;
    };
    std::vector<Tensor> inputs;
    std::vector<Tensor> outputs;
  };

  Instance(const Model& model, const char* device) : model_(model), api_(model.api_), device_(device) {}
  // Compiles the model again, and makes a request that nothing is bound to.
  Failure compile();
  void unbind();
  // Finds the outputs that are inputs, when inputs are bound and no output is yet.
  void examine_outputs();
  [[nodiscard]] bool may_bind(std::size_t output) const { return examined_ && !passing_[output]; }
  Failure bind_inputs(const servoir_buffer* inputs);
  Failure bind_input(std::size_t index, const servoir_buffer& buffer);
  Failure bind_output(std::size_t index, const servoir_buffer& room);
  Failure bind_own_output(std::size_t index);
  // Marks the memory of the outputs, runs, and reads the outputs if that went well.
  Failure run(servoir_buffer* outputs, Mark mark);
  void mark_outputs(Mark mark);
  // An output whose memory was left as it was; null: there is none.
  [[nodiscard]] const Port* unwritten(const servoir_buffer* outputs, Mark mark) const;
  Failure read_output(std::size_t index, servoir_buffer* buffer);
  // Keeps this batch, if it is small, to be run again after a failure.
  void keep_witness(const servoir_buffer* inputs, const servoir_buffer* outputs);
  // After a failure: makes sure that good batches run again.
  Failure recover();
  // Runs the batch that was kept, and compares.
  [[nodiscard]] bool witness_holds();
  [[nodiscard]] Failure failed(const std::string& what, ov_status_e status) const;

  const Model& model_;
  const Api& api_;
  const std::string device_;
  Options properties_;
  Handle<ov_compiled_model_t> compiled_;
  Handle<ov_infer_request_t> request_;
  std::vector<Binding> inputs_;
  std::vector<Binding> outputs_;
  // Memory of each output that was marked before the run.
  struct Marked {
    void* data = nullptr;
    std::uint64_t bytes = 0;
  };
  std::vector<Marked> marked_;
  bool examined_ = false;      // passing_ is known
  std::vector<bool> passing_;  // outputs that are inputs
  bool suspect_ = false;       // the last run failed
  Witness witness_;
};

}  // namespace servoir::openvino
