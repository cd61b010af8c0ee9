// The graph of a servable: its methods, their stages, and the functions and models that the stages call.
//
// These are plain values, made once from the graph that a worker tells and never changed afterwards, so any thread may
// read them. A *callee* is what a stage calls: a Python function (known by its name) or a subgraph of a model. All
// stages that call the same callee share its queue and so its batches.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "memory/slab.h"
#include "tensor/port.h"

namespace servoir {

// An input or output of a model, with the shape of one instance (of the whole when not batched).
struct PortSpec : Port {
  bool batched = true;  // false: one value for the whole batch
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
  std::chrono::nanoseconds max_queue_delay{0};  // how long the oldest instance may wait for more while a worker is idle
  // How long a worker may take for a batch, or for each of its instances if it is called singly; 0: as long as it
  // likes.
  std::chrono::nanoseconds time_limit{0};
  bool rerun = true;                   // false: a function with effects, which no instance may see twice
  std::vector<PortSpec> input_ports;   // models only
  std::vector<PortSpec> output_ports;  // models only
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
  std::vector<std::string> inputs;     // names, of values 0, 1, …
  std::vector<DataType> input_dtypes;  // that were declared, kUnknown where none was; or empty: none at all
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

// Ok if every index is in range, the counts agree, and stages use earlier values only. InvalidArgument names the place.
[[nodiscard]] Status check(const ServableSpec& spec);

// For error texts: "add_common, stage 2 (Function 'add.f')".
[[nodiscard]] std::string stage_label(const ServableSpec& spec, const StageSpec& stage);

// The scheduler's number of a published version. It is never 0, and no number is given twice.
using ServableId = std::uint64_t;

// Where a value goes: a stage and the position among its inputs.
struct Consumer {
  std::uint32_t stage = 0;
  std::uint32_t input = 0;
};

class VersionScheduler;

// A method that can be run: its spec, and what follows from the spec.
struct Method {
  std::shared_ptr<const ServableSpec> servable;
  const MethodSpec* spec = nullptr;              // in *servable
  std::vector<std::vector<Consumer>> consumers;  // of each value
  // Of each input value: the input of a model, or else of a function, in whose batch its bytes are placed.
  struct Home {
    std::uint64_t slab_consumer = 0;  // SlabKey::consumer
    std::uint32_t batch_rows = 1;     // SlabPool::reserve's batch_rows
  };
  std::vector<Home> homes;
  // What is known of each input value before it comes. The dtype is the one that was declared for it, or else that of
  // the models that it goes to, if all have the same and it goes to nothing else. The shape is that of the first model.
  std::vector<Port> input_ports;
  ServableId servable_id = 0;
  std::shared_ptr<VersionScheduler> scheduler;  // of its version; null: it cannot be submitted

  // The index of the input of this name, or -1.
  [[nodiscard]] int input_index(std::string_view name) const {
    for (std::size_t i = 0; i < spec->inputs.size(); ++i) {
      if (spec->inputs[i] == name) return static_cast<int>(i);
    }
    return -1;
  }
};

// The SlabKey::consumer of an input of a callee.
[[nodiscard]] std::uint64_t slab_consumer(ServableId servable_id, std::uint32_t callee, std::uint32_t input);

// `spec` must be a method of *servable, which must have passed check(). The pool, if there is one, forgets the
// consumers of the method's inputs when nobody holds the method any more: until then an upload may open slabs for them.
[[nodiscard]] std::shared_ptr<Method> make_method(std::shared_ptr<const ServableSpec> servable, const MethodSpec* spec,
                                                  ServableId servable_id, SlabPool* slabs = nullptr);

}  // namespace servoir
