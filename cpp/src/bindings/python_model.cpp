#include "python_model.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "base/log.h"
#include "forked_child.h"
#include "numpy_values.h"

namespace servoir::bindings {
namespace {

// Keeps the interpreter's state of this thread from one batch to the next: making a new state costs more than a small
// batch, and what a backend keeps for its thread would be lost.
class ThreadState {
 public:
  ThreadState() : state_(PyGILState_Ensure()) { thread_ = PyEval_SaveThread(); }
  ~ThreadState() {
    if (Py_IsInitialized() == 0) return;
    PyEval_RestoreThread(thread_);
    PyGILState_Release(state_);
  }
  ThreadState(const ThreadState&) = delete;
  ThreadState& operator=(const ThreadState&) = delete;

  static void keep() { static thread_local ThreadState state; }

 private:
  PyGILState_STATE state_;
  PyThreadState* thread_;
};

}  // namespace

Result<std::vector<Port>> ports_of(const py::iterable& described, const char* side) {
  std::vector<Port> ports;
  for (const py::handle item : described) {
    Port port;
    port.name = item["name"].cast<std::string>();
    const py::object given = item["dtype"];
    if (!given.is_none()) {
      const auto type = given.cast<std::string>();
      const auto dtype = data_type_of(type);
      if (!dtype.has_value()) {
        return Status::InvalidArgument("'" + port.name + "' in the model's " + side + " has dtype '" + type +
                                       "', which cannot be served");
      }
      port.dtype = *dtype;
    }
    const py::object shape = item["shape"];
    port.rank_known = !shape.is_none();
    if (port.rank_known) {
      const auto dims = shape.cast<std::vector<std::int64_t>>();
      if (dims.size() > kMaxRank) {
        return Status::InvalidArgument("'" + port.name + "' in the model's " + side + " has " +
                                       std::to_string(dims.size()) + " dimensions; at most " +
                                       std::to_string(kMaxRank) + " can be served");
      }
      port.shape.rank = static_cast<std::uint32_t>(dims.size());
      for (std::size_t i = 0; i < dims.size(); ++i) port.shape.dims[i] = dims[i] < 0 ? kDynamic : dims[i];
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

namespace {

class PythonModel final : public Model {
 public:
  PythonModel(py::object model, std::vector<Port> inputs, std::vector<Port> outputs)
      : execute_(model.attr("execute")), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}
  ~PythonModel() override {
    if (Py_IsInitialized() == 0) {
      execute_.release();
      kept_.release();
      return;
    }
    const py::gil_scoped_acquire lock;
    kept_ = py::object();
    execute_ = py::object();
  }
  PythonModel(const PythonModel&) = delete;
  PythonModel& operator=(const PythonModel&) = delete;

  [[nodiscard]] const std::vector<Port>& inputs() const override { return inputs_; }
  [[nodiscard]] const std::vector<Port>& outputs() const override { return outputs_; }

  [[nodiscard]] Status execute(std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) override {
    ThreadState::keep();
    const py::gil_scoped_acquire lock;
    kept_ = py::object();
    try {
      return run(inputs, outputs);
    } catch (py::error_already_set& error) {
      if (is_forked_child()) {
        error.restore();
        end_forked_child("execute");
      }
      SERVOIR_WARNING(std::string("the model failed: ") + error.what());
      error.restore();
      return Status::Internal(take_error_text());
    } catch (const std::exception& error) {
      return Status::Internal(error.what());
    }
  }

 private:
  Status run(std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) {
    py::list arrays;
    for (const ModelInput& input : inputs) {
      arrays.append(is_text(input.dtype) ? made(array_of_texts(input.dtype, input.shape, input.data, input.bytes))
                                         : array(input.dtype, input.shape, input.data));
    }
    py::list rooms;
    for (const ModelOutput& output : outputs) {
      rooms.append(output.expected && output.data != nullptr ? array(output.dtype, output.shape, output.data)
                                                             : py::object(py::none()));
    }
    const py::object results = execute_(arrays, rooms);
    if (is_forked_child()) end_forked_child("execute");
    if (!py::isinstance<py::sequence>(results) || py::len(results) != outputs.size()) {
      return Status::Internal("the backend's execute() must return a list with an array or None for each of the " +
                              std::to_string(outputs.size()) + " outputs");
    }
    py::list kept;
    kept_texts_.clear();
    kept_texts_.reserve(outputs.size());
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const py::object result = results[py::int_(k)];
      if (result.is_none()) {
        if (rooms[k].is_none()) {
          return Status::Internal("the backend's execute() returned None for output '" + outputs_[k].name +
                                  "', for which it was given no room");
        }
        continue;  // it is in its room, with the shape that was expected
      }
      const auto packed = py::array::ensure(result, py::array::c_style);
      if (!packed) throw py::error_already_set();
      if (is_array_of_texts(packed)) {
        SERVOIR_RETURN_IF_ERROR(take_texts(packed, &outputs[k]));
        continue;
      }
      SERVOIR_RETURN_IF_ERROR(take(packed, &outputs[k]));
      kept.append(packed);
    }
    kept_ = std::move(kept);
    return Status::Ok();
  }

  static py::object array(DataType dtype, const Shape& shape, std::byte* data) {
    return made(array_on(dtype, shape, data));
  }
  static py::object made(py::object object) {
    if (!object) throw py::error_already_set();
    return object;
  }

  Status take_texts(const py::array& array, ModelOutput* output) {
    Value value;
    SERVOIR_RETURN_IF_ERROR(value.read(array.ptr()));
    std::string& kept = kept_texts_.emplace_back(static_cast<std::size_t>(value.bytes()), '\0');
    output->dtype = value.dtype();
    output->shape = value.shape();
    output->bytes = value.bytes();
    output->data = reinterpret_cast<std::byte*>(kept.data());
    return value.write(output->data);
  }

  static Status take(const py::array& array, ModelOutput* output) {
    const auto* descriptor = py::detail::array_descriptor_proxy(array.dtype().ptr());
    output->dtype = data_type_of_numpy(descriptor->type_num);
    if (output->dtype == DataType::kUnknown) {
      return Status::Internal("the model's output has dtype " + py::str(array.dtype()).cast<std::string>() +
                              ", which cannot be served");
    }
    if (array.ndim() > static_cast<py::ssize_t>(kMaxRank)) {
      return Status::Internal("the model's output has " + std::to_string(array.ndim()) + " dimensions; at most " +
                              std::to_string(kMaxRank) + " can be served");
    }
    output->shape = Shape();
    output->shape.rank = static_cast<std::uint32_t>(array.ndim());
    for (py::ssize_t i = 0; i < array.ndim(); ++i) output->shape.dims[static_cast<std::size_t>(i)] = array.shape(i);
    output->bytes = static_cast<std::uint64_t>(array.nbytes());
    output->data = static_cast<std::byte*>(const_cast<void*>(array.data()));
    return Status::Ok();
  }

  py::object execute_;
  py::object kept_;                      // results of the last batch, which the lane may still read
  std::vector<std::string> kept_texts_;  // likewise
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
};

}  // namespace

Result<std::shared_ptr<Model>> make_python_model(py::object model) {
  SERVOIR_ASSIGN_OR_RETURN(auto inputs, ports_of(model.attr("inputs"), "inputs"));
  SERVOIR_ASSIGN_OR_RETURN(auto outputs, ports_of(model.attr("outputs"), "outputs"));
  return std::shared_ptr<Model>(std::make_shared<PythonModel>(std::move(model), std::move(inputs), std::move(outputs)));
}

py::list describe_ports(const std::vector<Port>& ports) {
  py::list described;
  for (const Port& port : ports) {
    py::object shape = py::none();
    if (port.rank_known) {
      py::list dims;
      for (const std::int64_t dim : port.shape.view()) dims.append(dim);
      shape = std::move(dims);
    }
    py::dict one;
    one["name"] = port.name;
    one["dtype"] =
        port.dtype == DataType::kUnknown ? py::object(py::none()) : py::str(std::string(name_of(port.dtype)));
    one["shape"] = std::move(shape);
    described.append(std::move(one));
  }
  return described;
}

}  // namespace servoir::bindings
