#include "forked_child.h"

#include <pthread.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <utility>

namespace servoir::bindings {
namespace {

namespace py = pybind11;

std::atomic<bool> g_forked{false};

// The exception that is set, with its traceback; None if none is.
py::object take_error() {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* trace = nullptr;
  PyErr_Fetch(&type, &value, &trace);
  if (type == nullptr) return py::none();
  PyErr_NormalizeException(&type, &value, &trace);
  if (value != nullptr && trace != nullptr) PyException_SetTraceback(value, trace);
  Py_XDECREF(type);
  Py_XDECREF(trace);
  return value != nullptr ? py::reinterpret_steal<py::object>(value) : py::object(py::none());
}

}  // namespace

void know_forked_children() {
  static const int registered = ::pthread_atfork(nullptr, nullptr, [] { g_forked.store(true); });
  (void)registered;
}

bool is_forked_child() { return g_forked.load(std::memory_order_relaxed); }

void end_forked_child(std::string_view name) {
  try {
    const py::object error = take_error();
    py::module_::import("servoir.worker.forked_child").attr("end")(std::string(name), error);
  } catch (const std::exception&) {
    // There is nothing left to say it with.
  }
  ::_exit(1);
}

}  // namespace servoir::bindings
