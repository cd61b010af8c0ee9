// Logging and what both kinds of processes ask of the machine.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>

#include "base/cores.h"
#include "base/log.h"

namespace servoir::bindings {

namespace py = pybind11;

namespace {

LogLevel level_of(int level) { return static_cast<LogLevel>(std::clamp(level, 0, 3)); }

}  // namespace

void register_log(py::module_& m) {
  m.def("usable_cores", &usable_cores,
        "Cores that this process may really use: sched_getaffinity cut by the cgroup v1/v2 CPU quota.");
  m.def(
      "set_log_level", [](int level) { set_log_level(level_of(level)); }, py::arg("level"),
      "0 debug, 1 info, 2 warning, 3 error: what the C++ parts log from now on.");
  m.def(
      "log",
      [](int level, const std::string& file, int line, const std::string& text) {
        if (log_enabled(level_of(level))) log_write(level_of(level), file, line, text);
      },
      py::arg("level"), py::arg("file"), py::arg("line"), py::arg("text"), py::call_guard<py::gil_scoped_release>(),
      "Writes a record to the log of the C++ parts.");
}

}  // namespace servoir::bindings
