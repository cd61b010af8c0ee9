// Logging and what both kinds of processes ask of the machine.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "base/cores.h"
#include "base/log.h"
#include "base/standard_error.h"

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
      "set_log_directory",
      [](std::string directory, std::uint64_t max_bytes, std::uint32_t backups, int on_stderr) {
        set_log_directory(std::move(directory), {max_bytes, backups}, level_of(on_stderr));
      },
      py::arg("directory"), py::arg("max_bytes"), py::arg("backups"), py::arg("on_stderr"),
      "Records of the C++ parts go to DIRECTORY/servoir.PID.log from now on, and from a level on to stderr as well.");
  m.def("log_write_file", &log_write_file, py::arg("record"), py::call_guard<py::gil_scoped_release>(),
        "Appends a record of the Python parts, without its line end, to that file.");
  m.def("log_write_stderr", &log_write_stderr, py::arg("record"), py::call_guard<py::gil_scoped_release>(),
        "Writes a record of the Python parts to stderr, or drops and counts it where nobody reads that.");
  m.def(
      "log",
      [](int level, const std::string& file, int line, const std::string& text) {
        if (log_enabled(level_of(level))) log_write(level_of(level), file, line, text);
      },
      py::arg("level"), py::arg("file"), py::arg("line"), py::arg("text"), py::call_guard<py::gil_scoped_release>(),
      "Writes a record to the log of the C++ parts.");
}

}  // namespace servoir::bindings
