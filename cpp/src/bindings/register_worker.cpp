// WorkerRuntime for Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "native_model.h"
#include "python_model.h"
#include "status_error.h"
#include "worker/batching.h"
#include "worker_runtime.h"

namespace servoir::bindings {
namespace {

void add_function(WorkerRuntime& runtime, std::uint32_t callee, py::object function, std::uint32_t inputs,
                  std::uint32_t outputs, bool batched, bool rerun, std::string name) {
  if (PyCallable_Check(function.ptr()) == 0) throw py::type_error("function '" + name + "' is not callable");
  raise_if_failed(
      runtime.add_function(callee, {std::move(function), inputs, outputs, batched, rerun, std::move(name), false}));
}

void add_native_model(WorkerRuntime& runtime, std::uint32_t callee, const NativeModel& model, std::uint32_t max_batch,
                      bool with_batch_dim, std::vector<std::uint32_t> unbatched_inputs,
                      std::vector<std::uint32_t> unbatched_outputs) {
  raise_if_failed(runtime.add_model(
      callee, {model.model, max_batch, {with_batch_dim, std::move(unbatched_inputs), std::move(unbatched_outputs)}}));
}

void add_python_model(WorkerRuntime& runtime, std::uint32_t callee, py::object model, std::uint32_t max_batch,
                      bool with_batch_dim, std::vector<std::uint32_t> unbatched_inputs,
                      std::vector<std::uint32_t> unbatched_outputs) {
  auto made = value_or_raise(make_python_model(std::move(model)));
  raise_if_failed(runtime.add_model(
      callee,
      {std::move(made), max_batch, {with_batch_dim, std::move(unbatched_inputs), std::move(unbatched_outputs)}}));
}

std::optional<std::uint32_t> find_batch_size(const py::iterable& inputs, const py::iterable& outputs,
                                             bool with_batch_dim, std::vector<std::uint32_t> unbatched_inputs,
                                             std::vector<std::uint32_t> unbatched_outputs) {
  const std::vector<Port> ins = value_or_raise(ports_of(inputs, "inputs"));
  const std::vector<Port> outs = value_or_raise(ports_of(outputs, "outputs"));
  const Batching batching{with_batch_dim, std::move(unbatched_inputs), std::move(unbatched_outputs)};
  const std::uint32_t size = value_or_raise(batch_size(ins, outs, batching));
  return size == 0 ? std::nullopt : std::optional(size);
}

}  // namespace

void register_worker(py::module_& m) {
  using Lockless = py::call_guard<py::gil_scoped_release>;
  m.def("batch_size", &find_batch_size, py::arg("inputs"), py::arg("outputs"), py::kw_only(), py::arg("with_batch_dim"),
        py::arg("unbatched_inputs"), py::arg("unbatched_outputs"));
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
      .def(py::init([](int arena_fd, int control_fd, bool mark_rooms) {
             return std::unique_ptr<WorkerRuntime, End>(
                 value_or_raise(WorkerRuntime::create(arena_fd, control_fd, mark_rooms)).release());
           }),
           py::arg("arena_fd"), py::arg("control_fd"), py::kw_only(), py::arg("mark_rooms") = false)
      .def("add_function", &add_function, py::arg("callee"), py::arg("function"), py::kw_only(), py::arg("inputs"),
           py::arg("outputs"), py::arg("batched"), py::arg("rerun"), py::arg("name"))
      .def("add_native_model", &add_native_model, py::arg("callee"), py::arg("model"), py::kw_only(),
           py::arg("max_batch"), py::arg("with_batch_dim"), py::arg("unbatched_inputs"),
           py::arg("unbatched_outputs") = std::vector<std::uint32_t>{})
      .def("add_python_model", &add_python_model, py::arg("callee"), py::arg("model"), py::kw_only(),
           py::arg("max_batch"), py::arg("with_batch_dim"), py::arg("unbatched_inputs"),
           py::arg("unbatched_outputs") = std::vector<std::uint32_t>{})
      .def(
          "serve_models",
          [](WorkerRuntime& runtime, int memory_fd, int event_fd) {
            raise_if_failed(runtime.serve_models(memory_fd, event_fd));
          },
          py::arg("memory_fd"), py::arg("event_fd"), Lockless())
      .def(
          "serve_functions",
          [](WorkerRuntime& runtime, int memory_fd, int event_fd) {
            raise_if_failed(runtime.serve_functions(memory_fd, event_fd));
          },
          py::arg("memory_fd"), py::arg("event_fd"))
      .def(
          "call_model",
          [](WorkerRuntime& runtime, std::uint32_t callee, const py::sequence& instances) {
            return value_or_raise(runtime.call_model(callee, instances));
          },
          py::arg("callee"), py::arg("instances"))
      .def("interrupt", &WorkerRuntime::interrupt, Lockless())
      .def("stop", &WorkerRuntime::stop, Lockless())
      .def("join", &WorkerRuntime::join, Lockless(), "After stop(): waits for the model lane's end.");
}

}  // namespace servoir::bindings
