#include "servable_spec.h"

#include <pybind11/stl.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "status_error.h"
#include "tensor/dtype.h"

namespace servoir::bindings {

namespace py = pybind11;

namespace {

// A dict with the way to it, for error texts: "callees[1].input_ports[0]".
class Node {
 public:
  Node(py::handle value, std::string path) : path_(std::move(path)) {
    if (!py::isinstance<py::dict>(value)) raise("is not a dict");
    dict_ = py::reinterpret_borrow<py::dict>(value);
  }

  template <typename T>
  [[nodiscard]] T get(const char* key) const {
    const py::object value = item(key);
    try {
      return value.cast<T>();
    } catch (const py::cast_error&) {
      refuse(key, value);
    }
  }

  [[nodiscard]] std::vector<Node> nodes(const char* key) const {
    const py::object list = item(key);
    if (!py::isinstance<py::list>(list)) refuse(key, list);
    std::vector<Node> result;
    for (const py::handle value : list) {
      result.emplace_back(value, path_ + "." + key + "[" + std::to_string(result.size()) + "]");
    }
    return result;
  }

  [[nodiscard]] bool is_none(const char* key) const { return item(key).is_none(); }

  [[noreturn]] void raise(const std::string& what) const {
    bindings::raise(Status::InvalidArgument("the description of a servable: " + path_ + " " + what));
  }

 private:
  [[noreturn]] void refuse(const char* key, const py::object& value) const {
    raise(std::string("['") + key + "'] is " + py::repr(value).cast<std::string>() + ", which is of the wrong type");
  }

  [[nodiscard]] py::object item(const char* key) const {
    if (!dict_.contains(key)) raise(std::string("has no '") + key + "'");
    return dict_[key];
  }

  py::dict dict_;
  std::string path_;
};

// None: it is not known.
DataType dtype_of(const Node& node, const std::optional<std::string>& dtype) {
  if (!dtype) return DataType::kUnknown;
  const std::optional<DataType> type = data_type_of(*dtype);
  if (!type) {
    node.raise("has the dtype '" + *dtype + "', which is not one that can be served (float32, int64, str, …)");
  }
  return *type;
}

// `with_batch_dim`: the first dimension counts instances, where the port is batched.
PortSpec port_of(const Node& node, bool with_batch_dim) {
  PortSpec port;
  port.name = node.get<std::string>("name");
  port.dtype = dtype_of(node, node.get<std::optional<std::string>>("dtype"));
  port.batched = node.get<bool>("batched");
  port.rank_known = !node.is_none("shape");
  if (!port.rank_known) return port;
  auto dims = node.get<std::vector<std::int64_t>>("shape");
  if (dims.size() > kMaxRank) {
    node.raise("has " + std::to_string(dims.size()) + " dimensions; at most " + std::to_string(kMaxRank) +
               " are supported");
  }
  if (with_batch_dim && port.batched) {
    if (dims.empty()) node.raise("is a single value, but its first dimension should be the batch");
    dims.erase(dims.begin());
  }
  port.shape.rank = static_cast<std::uint32_t>(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < kDynamic) node.raise("has the dimension " + std::to_string(dims[i]));
    port.shape.dims[i] = dims[i];
  }
  return port;
}

CalleeSpec callee_of(const Node& node) {
  CalleeSpec callee;
  const auto kind = node.get<std::string>("kind");
  if (kind != "function" && kind != "model") node.raise("has the kind '" + kind + "'; it can be 'function' or 'model'");
  callee.kind = kind == "model" ? CalleeSpec::Kind::kModel : CalleeSpec::Kind::kFunction;
  callee.name = node.get<std::string>("name");
  callee.subgraph = node.get<std::uint32_t>("subgraph");
  callee.inputs = node.get<std::uint32_t>("inputs");
  callee.outputs = node.get<std::uint32_t>("outputs");
  callee.max_batch = node.get<std::uint32_t>("max_batch");
  callee.called_singly = node.get<bool>("called_singly");
  callee.max_queue_delay = std::chrono::microseconds(node.get<std::uint32_t>("max_queue_delay_us"));
  callee.time_limit = std::chrono::milliseconds(node.get<std::uint32_t>("time_limit_ms"));
  callee.rerun = node.get<bool>("rerun");
  const bool with_batch_dim = node.get<bool>("with_batch_dim");
  for (const Node& port : node.nodes("input_ports")) callee.input_ports.push_back(port_of(port, with_batch_dim));
  for (const Node& port : node.nodes("output_ports")) callee.output_ports.push_back(port_of(port, with_batch_dim));
  return callee;
}

StageSpec stage_of(const Node& node) {
  StageSpec stage;
  stage.callee = node.get<std::uint32_t>("callee");
  stage.inputs = node.get<std::vector<std::uint32_t>>("inputs");
  stage.first_output = node.get<std::uint32_t>("first_output");
  stage.outputs = node.get<std::uint32_t>("outputs");
  if (!node.is_none("tag")) stage.tag = node.get<std::string>("tag");
  return stage;
}

MethodSpec method_of(const Node& node) {
  MethodSpec method;
  method.name = node.get<std::string>("name");
  method.inputs = node.get<std::vector<std::string>>("inputs");
  for (const auto& dtype : node.get<std::vector<std::optional<std::string>>>("input_dtypes")) {
    method.input_dtypes.push_back(dtype_of(node, dtype));
  }
  method.output_names = node.get<std::vector<std::string>>("output_names");
  method.outputs = node.get<std::vector<std::uint32_t>>("outputs");
  for (const Node& stage : node.nodes("stages")) method.stages.push_back(stage_of(stage));
  method.values = node.get<std::uint32_t>("values");
  return method;
}

}  // namespace

ServableSpec servable_spec_of(const py::dict& dict) {
  const Node node(dict, "servable");
  ServableSpec spec;
  spec.name = node.get<std::string>("name");
  spec.version = node.get<std::uint64_t>("version");
  for (const Node& callee : node.nodes("callees")) spec.callees.push_back(callee_of(callee));
  for (const Node& method : node.nodes("methods")) spec.methods.push_back(method_of(method));
  return spec;
}

}  // namespace servoir::bindings
