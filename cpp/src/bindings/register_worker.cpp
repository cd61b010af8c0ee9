// WorkerRuntime for Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "native_model.h"
#include "python_model.h"
#include "worker_runtime.h"

namespace servoir::bindings {
namespace {

void raise_if_error(const Status& status) {
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
}
template <typename T>
T value_or_raise(Result<T> result) {
  raise_if_error(result.status());
  return std::move(result).value();
}

void add_function(WorkerRuntime& runtime, std::uint32_t callee, py::object function, std::uint32_t inputs,
                  std::uint32_t outputs, bool batched, std::string name) {
  if (PyCallable_Check(function.ptr()) == 0) throw py::type_error("function '" + name + "' is not callable");
  raise_if_error(runtime.add_function(callee, {std::move(function), inputs, outputs, batched, std::move(name), false}));
}

void add_native_model(WorkerRuntime& runtime, std::uint32_t callee, const NativeModel& model, std::uint32_t max_batch,
                      bool with_batch_dim, std::vector<std::uint32_t> unbatched_inputs) {
  raise_if_error(runtime.add_model(callee, {model.model, max_batch, with_batch_dim, std::move(unbatched_inputs)}));
}

void add_python_model(WorkerRuntime& runtime, std::uint32_t callee, py::object model, std::uint32_t max_batch,
                      bool with_batch_dim, std::vector<std::uint32_t> unbatched_inputs) {
  auto made = value_or_raise(make_python_model(std::move(model)));
  raise_if_error(runtime.add_model(callee, {std::move(made), max_batch, with_batch_dim, std::move(unbatched_inputs)}));
}

}  // namespace

void register_worker(py::module_& m) {
  using Lockless = py::call_guard<py::gil_scoped_release>;
  // The model lane may need the interpreter lock to come to its end.
  struct End {
    void operator()(WorkerRuntime* runtime) const {
      const py::gil_scoped_release unlocked;
      runtime->stop();
      runtime->join();
      const py::gil_scoped_acquire lock;
      std::default_delete<WorkerRuntime>()(runtime);
    }
  };
  py::class_<WorkerRuntime, std::unique_ptr<WorkerRuntime, End>>(m, "WorkerRuntime")
      .def(py::init([](int arena_fd, int control_fd) {
             return std::unique_ptr<WorkerRuntime, End>(
                 value_or_raise(WorkerRuntime::create(arena_fd, control_fd)).release());
           }),
           py::arg("arena_fd"), py::arg("control_fd"))
      .def("add_function", &add_function, py::arg("callee"), py::arg("function"), py::kw_only(), py::arg("inputs"),
           py::arg("outputs"), py::arg("batched"), py::arg("name"))
      .def("add_native_model", &add_native_model, py::arg("callee"), py::arg("model"), py::kw_only(),
           py::arg("max_batch"), py::arg("with_batch_dim"), py::arg("unbatched_inputs"))
      .def("add_python_model", &add_python_model, py::arg("callee"), py::arg("model"), py::kw_only(),
           py::arg("max_batch"), py::arg("with_batch_dim"), py::arg("unbatched_inputs"))
      .def(
          "serve_models",
          [](WorkerRuntime& runtime, int memory_fd, int event_fd) {
            raise_if_error(runtime.serve_models(memory_fd, event_fd));
          },
          py::arg("memory_fd"), py::arg("event_fd"), Lockless())
      .def(
          "serve_functions",
          [](WorkerRuntime& runtime, int memory_fd, int event_fd) {
            raise_if_error(runtime.serve_functions(memory_fd, event_fd));
          },
          py::arg("memory_fd"), py::arg("event_fd"))
      .def(
          "call_model",
          [](WorkerRuntime& runtime, std::uint32_t callee, const py::sequence& instances) {
            return value_or_raise(runtime.call_model(callee, instances));
          },
          py::arg("callee"), py::arg("instances"))
      .def("stop", &WorkerRuntime::stop, Lockless())
      .def("join", &WorkerRuntime::join, Lockless(), "After stop(): waits for the model lane's end.");
}

}  // namespace servoir::bindings
