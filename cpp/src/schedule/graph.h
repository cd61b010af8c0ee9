// The graph of a servable: its methods, their stages, and the functions and models that the stages call.
//
// Plain values, made once from a worker's hello and never changed afterwards, so any thread may read them. A *callee*
// is what a stage calls: a Python function (known by its name) or one subgraph of a model. All stages that call the
// same callee share its queue and so its batches.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir {

// An input or output of a model.
struct PortSpec {
  std::string name;
  DataType dtype = DataType::kUnknown;  // kUnknown: numbers of any type are taken as they come
  Shape row_shape;         // of one instance (of the whole input when not batched); may have dynamic dimensions
  bool rank_known = true;  // false: any shape is taken as it comes
  bool batched = true;     // false: one value for the whole batch
};

struct CalleeSpec {
  enum class Kind : std::uint8_t { kFunction, kModel };
  Kind kind = Kind::kFunction;
  std::string name;            // of the function, or the key of the model
  std::uint32_t subgraph = 0;  // of the model
  std::uint32_t inputs = 0;
  std::uint32_t outputs = 0;
  std::uint32_t max_batch = 1;  // instances in one batch, at most
  bool called_singly = false;   // a function called once for each instance: a batch only saves trips to the worker
  std::chrono::nanoseconds max_queue_delay{0};  // how long the oldest instance may wait for more, with a worker idle
  std::vector<PortSpec> input_ports;            // models only
  std::vector<PortSpec> output_ports;           // models only
};

// Values of a method are numbered: its inputs first, then the outputs of stage 0, of stage 1, …
struct StageSpec {
  std::uint32_t callee = 0;           // index in ServableSpec::callees
  std::vector<std::uint32_t> inputs;  // values
  std::uint32_t first_output = 0;     // value; the others follow
  std::uint32_t outputs = 0;
  std::string tag;  // in error texts; empty: "Function 'SERVABLE.FUNCTION'" or "Model 'KEY'"
};

struct MethodSpec {
  std::string name;
  std::vector<std::string> inputs;  // names, of values 0, 1, …
  std::vector<std::string> output_names;
  std::vector<std::uint32_t> outputs;  // values
  std::vector<StageSpec> stages;
  std::uint32_t values = 0;  // in all
};

struct ServableSpec {
  std::string name;
  std::uint64_t version = 1;
  std::vector<CalleeSpec> callees;
  std::vector<MethodSpec> methods;
};

// Every index in range, counts agreeing, stages using only earlier values. InvalidArgument naming the place.
[[nodiscard]] Status check(const ServableSpec& spec);

// "add_common, stage 2 (Function 'add.f')": for error texts.
[[nodiscard]] std::string stage_label(const ServableSpec& spec, const StageSpec& stage);

// Where a value goes: a stage and the position among its inputs.
struct Consumer {
  std::uint32_t stage = 0;
  std::uint32_t input = 0;
};

// A method ready to be run: the spec and what follows from it.
struct Method {
  std::shared_ptr<const ServableSpec> servable;
  const MethodSpec* spec = nullptr;              // in *servable
  std::vector<std::vector<Consumer>> consumers;  // of each value
  // For each input value: the model input (else function input) whose batch its bytes are placed in.
  struct Home {
    std::uint64_t slab_consumer = 0;  // SlabKey::consumer
    std::uint32_t batch_rows = 1;     // SlabPool::reserve's batch_rows
  };
  std::vector<Home> homes;
  std::uint64_t servable_id = 0;  // number given by the scheduler

  // Index of the input of this name, or -1.
  [[nodiscard]] int input_index(std::string_view name) const {
    for (std::size_t i = 0; i < spec->inputs.size(); ++i) {
      if (spec->inputs[i] == name) return static_cast<int>(i);
    }
    return -1;
  }
};

// What SlabKey::consumer is for an input of a callee.
[[nodiscard]] std::uint64_t slab_consumer(std::uint64_t servable_id, std::uint32_t callee, std::uint32_t input);

// `spec` is one of the methods of *servable, which has passed check().
[[nodiscard]] std::shared_ptr<const Method> make_method(std::shared_ptr<const ServableSpec> servable,
                                                        const MethodSpec* spec, std::uint64_t servable_id);

}  // namespace servoir
