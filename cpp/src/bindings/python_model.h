// PythonModel: a model that a Python backend runs, for the model lane.
//
// The object has `inputs` and `outputs` (lists of {"name", "dtype", "shape"}) and execute(inputs, outputs), see the
// stub of WorkerRuntime.add_python_model. execute() takes the interpreter lock; a backend releases it while its runtime
// computes.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <vector>

#include "base/status.h"
#include "native/model.h"

namespace servoir::bindings {

namespace py = pybind11;

// With the interpreter lock. InvalidArgument when the object's inputs or outputs cannot be understood.
[[nodiscard]] Result<std::shared_ptr<Model>> make_python_model(py::object model);

// The inverse of describe_ports(); `side` is "inputs" or "outputs" in messages. InvalidArgument for what no port is.
[[nodiscard]] Result<std::vector<Port>> ports_of(const py::iterable& described, const char* side);

// {"name", "dtype" or None for any, "shape": list with -1 for a dynamic dimension, or None}
[[nodiscard]] py::list describe_ports(const std::vector<Port>& ports);

}  // namespace servoir::bindings
