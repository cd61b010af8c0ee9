#include "request/graph.h"

#include <algorithm>
#include <set>

namespace servoir {
namespace {

Status bad(const ServableSpec& spec, const std::string& where, const std::string& what) {
  return Status::InvalidArgument("servable '" + spec.name + "', " + where + ": " + what);
}

Status check_callee(const ServableSpec& spec, std::size_t index) {
  const CalleeSpec& callee = spec.callees[index];
  const std::string where = "callee " + std::to_string(index) + " '" + callee.name + "'";
  if (callee.inputs == 0) return bad(spec, where, "has no inputs; at least one is needed");
  if (callee.outputs == 0) return bad(spec, where, "has no outputs; at least one is needed");
  if (callee.max_batch == 0) return bad(spec, where, "max_batch is 0; it must be at least 1");
  if (callee.max_queue_delay.count() < 0) return bad(spec, where, "max_queue_delay is negative");
  if (callee.time_limit.count() < 0) return bad(spec, where, "time_limit is negative");
  if (callee.kind == CalleeSpec::Kind::kModel) {
    if (callee.input_ports.size() != callee.inputs || callee.output_ports.size() != callee.outputs) {
      return bad(spec, where,
                 "describes " + std::to_string(callee.input_ports.size()) + " inputs and " +
                     std::to_string(callee.output_ports.size()) + " outputs, but is declared with " +
                     std::to_string(callee.inputs) + " and " + std::to_string(callee.outputs));
    }
  }
  return Status::Ok();
}

Status check_stage(const ServableSpec& spec, const MethodSpec& method, std::size_t index, std::uint32_t* values) {
  const StageSpec& stage = method.stages[index];
  const std::string where = "method '" + method.name + "', stage " + std::to_string(index + 1);
  if (stage.callee >= spec.callees.size()) {
    return bad(
        spec, where,
        "calls callee " + std::to_string(stage.callee) + ", but there are " + std::to_string(spec.callees.size()));
  }
  const CalleeSpec& callee = spec.callees[stage.callee];
  if (stage.inputs.size() != callee.inputs || stage.outputs != callee.outputs) {
    return bad(spec, where,
               "has " + std::to_string(stage.inputs.size()) + " inputs and " + std::to_string(stage.outputs) +
                   " outputs, but '" + callee.name + "' has " + std::to_string(callee.inputs) + " and " +
                   std::to_string(callee.outputs));
  }
  for (const std::uint32_t value : stage.inputs) {
    if (value >= *values) return bad(spec, where, "uses value " + std::to_string(value) + ", which comes later");
  }
  if (stage.first_output != *values) {
    return bad(
        spec, where,
        "its outputs start at value " + std::to_string(stage.first_output) + ", expected " + std::to_string(*values));
  }
  *values += stage.outputs;
  return Status::Ok();
}

Status check_method(const ServableSpec& spec, const MethodSpec& method) {
  const std::string where = "method '" + method.name + "'";
  if (method.name.empty()) return bad(spec, where, "has an empty name");
  if (method.output_names.size() != method.outputs.size()) {
    return bad(spec, where,
               "names " + std::to_string(method.output_names.size()) + " outputs and returns " +
                   std::to_string(method.outputs.size()));
  }
  if (!method.input_dtypes.empty() && method.input_dtypes.size() != method.inputs.size()) {
    return bad(spec, where,
               "has dtypes for " + std::to_string(method.input_dtypes.size()) + " inputs and " +
                   std::to_string(method.inputs.size()) + " inputs");
  }
  auto values = static_cast<std::uint32_t>(method.inputs.size());
  for (std::size_t i = 0; i < method.stages.size(); ++i) {
    SERVOIR_RETURN_IF_ERROR(check_stage(spec, method, i, &values));
  }
  if (method.values != values) {
    return bad(spec, where, "counts " + std::to_string(method.values) + " values, expected " + std::to_string(values));
  }
  for (const std::uint32_t value : method.outputs) {
    if (value >= values) return bad(spec, where, "returns value " + std::to_string(value) + ", which does not exist");
  }
  return Status::Ok();
}

// See Method::input_ports.
Port port_of_input(const ServableSpec& servable, const MethodSpec& method, std::uint32_t input,
                   const std::vector<Consumer>& consumers) {
  Port port;
  port.name = method.inputs[input];
  port.rank_known = false;
  bool agree = !consumers.empty();
  for (const Consumer& consumer : consumers) {
    const CalleeSpec& callee = servable.callees[method.stages[consumer.stage].callee];
    if (callee.kind != CalleeSpec::Kind::kModel) {
      agree = false;
      continue;
    }
    const PortSpec& of_model = callee.input_ports[consumer.input];
    if (!port.rank_known) {
      port.rank_known = of_model.rank_known;
      port.shape = of_model.shape;
      port.dtype = of_model.dtype;
    }
    agree = agree && of_model.dtype == port.dtype;
  }
  if (!agree) port.dtype = DataType::kUnknown;
  if (!method.input_dtypes.empty() && method.input_dtypes[input] != DataType::kUnknown) {
    port.dtype = method.input_dtypes[input];
  }
  return port;
}

}  // namespace

Status check(const ServableSpec& spec) {
  if (spec.name.empty()) return Status::InvalidArgument("a servable needs a name");
  if (spec.version == 0) return Status::InvalidArgument("servable '" + spec.name + "': a version is a positive number");
  for (std::size_t i = 0; i < spec.callees.size(); ++i) SERVOIR_RETURN_IF_ERROR(check_callee(spec, i));
  std::set<std::string_view> names;
  for (const MethodSpec& method : spec.methods) {
    SERVOIR_RETURN_IF_ERROR(check_method(spec, method));
    if (!names.insert(method.name).second) return bad(spec, "method '" + method.name + "'", "is there twice");
  }
  return Status::Ok();
}

std::string stage_label(const ServableSpec& spec, const StageSpec& stage) {
  if (!stage.tag.empty()) return stage.tag;
  const CalleeSpec& callee = spec.callees[stage.callee];
  if (callee.kind == CalleeSpec::Kind::kFunction) return "Function '" + spec.name + "." + callee.name + "'";
  return "Model '" + callee.name + "'";
}

std::uint64_t slab_consumer(ServableId servable_id, std::uint32_t callee, std::uint32_t input) {
  return servable_id << 32U | static_cast<std::uint64_t>(callee & 0xFFFFU) << 16U | (input & 0xFFFFU);
}

std::shared_ptr<Method> make_method(std::shared_ptr<const ServableSpec> servable, const MethodSpec* spec,
                                    ServableId servable_id, SlabPool* slabs) {
  const std::shared_ptr<Method> method(new Method, [slabs](const Method* ended) {
    const std::unique_ptr<const Method> owned(ended);
    if (slabs == nullptr) return;
    for (const Method::Home& home : owned->homes) slabs->forget(home.slab_consumer);
  });
  method->spec = spec;
  method->servable_id = servable_id;
  method->consumers.resize(spec->values);
  for (std::uint32_t s = 0; s < spec->stages.size(); ++s) {
    const StageSpec& stage = spec->stages[s];
    for (std::uint32_t i = 0; i < stage.inputs.size(); ++i) method->consumers[stage.inputs[i]].push_back({s, i});
  }
  for (std::uint32_t v = 0; v < spec->inputs.size(); ++v) {
    const std::vector<Consumer>& consumers = method->consumers[v];
    method->input_ports.push_back(port_of_input(*servable, *spec, v, consumers));
    auto home = std::find_if(consumers.begin(), consumers.end(), [&](const Consumer& c) {
      return servable->callees[spec->stages[c.stage].callee].kind == CalleeSpec::Kind::kModel;
    });
    if (home == consumers.end()) home = consumers.begin();
    if (home == consumers.end()) {
      method->homes.push_back({slab_consumer(servable_id, 0xFFFF, v), 1});
    } else {
      const std::uint32_t callee = spec->stages[home->stage].callee;
      method->homes.push_back({slab_consumer(servable_id, callee, home->input), servable->callees[callee].max_batch});
    }
  }
  method->servable = std::move(servable);
  return method;
}

}  // namespace servoir
