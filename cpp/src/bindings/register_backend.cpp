// NativeBackend and NativeModel for Python, and how libraries are judged.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "discovery/elf_file.h"
#include "discovery/trial.h"
#include "native/native_backend.h"
#include "native_model.h"
#include "numpy_values.h"
#include "python_model.h"
#include "status_error.h"

namespace servoir::bindings {
namespace {

using Places = std::vector<std::variant<std::string, std::pair<std::string, std::string>>>;

std::vector<SearchPlace> places_of(const Places& libraries) {
  std::vector<SearchPlace> places;
  for (const auto& place : libraries) {
    if (const auto* path = std::get_if<std::string>(&place)) {
      places.push_back({*path, "given"});
    } else {
      const auto& [directory, reason] = std::get<1>(place);
      places.push_back({directory, reason});
    }
  }
  return places;
}

TrialProgram program_of(const std::string& path, double seconds) {
  return {path, std::chrono::milliseconds(std::llround(seconds * 1e3))};
}

std::shared_ptr<NativeBackend> load(const std::string& plugin, const Places& libraries, const std::string& program,
                                    double seconds) {
  return value_or_raise(NativeBackend::load(plugin, places_of(libraries), program_of(program, seconds)));
}

py::list refused_of(const SearchOutcome& outcome) {
  py::list refused;
  for (const Candidate& candidate : outcome.tried) {
    if (candidate.refusal.empty()) continue;
    py::dict one;
    one["path"] = candidate.path;
    one["place"] = candidate.reason;
    one["reason"] = candidate.refusal;
    refused.append(one);
  }
  return refused;
}

py::dict examine(const std::string& plugin, const Places& libraries, const std::string& program, double seconds) {
  BackendReport report;
  {
    const py::gil_scoped_release unlocked;
    report = NativeBackend::examine(plugin, places_of(libraries), program_of(program, seconds));
  }
  py::dict described;
  described["version"] = report.version;
  described["library"] = report.search.path;
  described["devices"] = report.devices;
  described["refused"] = refused_of(report.search);
  described["problem"] = std::string(report.status.message());
  return described;
}

py::tuple try_command(const std::vector<std::string>& command, double seconds) {
  TrialOutcome outcome;
  {
    const py::gil_scoped_release unlocked;
    outcome = run_trial(command, std::chrono::milliseconds(std::llround(seconds * 1e3)));
  }
  return py::make_tuple(outcome.records, outcome.failure());
}

NativeModel open(const NativeBackend& backend, const std::string& path,
                 const std::map<std::string, std::string>& options, const std::string& device,
                 const std::vector<std::string>& companions) {
  std::vector<std::string> paths = {path};
  paths.insert(paths.end(), companions.begin(), companions.end());
  return {value_or_raise(backend.open(paths, device, {options.begin(), options.end()}))};
}

NativeModel open_in_memory(const NativeBackend& backend, const std::vector<std::pair<std::string, py::bytes>>& files,
                           const std::map<std::string, std::string>& options, const std::string& device) {
  std::vector<NamedContent> contents;
  for (const auto& [name, bytes] : files) {
    const std::string_view view = bytes;
    contents.push_back({name, std::as_bytes(std::span(view))});
  }
  const py::gil_scoped_release unlocked;  // the bytes are the caller's and do not change
  return {value_or_raise(backend.open_in_memory(contents, device, {options.begin(), options.end()}))};
}

// Runs a batch outside of any lane; the outputs are copies.
py::list execute(const NativeModel& native, const py::sequence& arrays) {
  Model& model = *native.model;
  if (arrays.size() != model.inputs().size()) {
    raise(Status::InvalidArgument("the model has " + std::to_string(model.inputs().size()) + " inputs, got " +
                                  std::to_string(arrays.size())));
  }
  std::vector<Value> values(arrays.size());
  std::vector<std::vector<std::byte>> memory(arrays.size());
  std::vector<ModelInput> inputs(arrays.size());
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (Status status = values[i].read(py::object(arrays[i]).ptr()); !status.ok()) {
      raise({status.code(), "input " + std::to_string(i) + ": " + std::string(status.message())});
    }
    memory[i].resize(values[i].bytes());
    raise_if_failed(values[i].write(memory[i].data()));
    inputs[i] = {memory[i].data(), values[i].bytes(), values[i].dtype(), values[i].shape()};
  }
  std::vector<ModelOutput> outputs(model.outputs().size());
  Status status;
  {
    const py::gil_scoped_release unlocked;
    status = model.execute(inputs, outputs);
  }
  raise_if_failed(status);
  py::list results;
  for (const ModelOutput& output : outputs) {
    const py::object view = array_on(output.dtype, output.shape, output.data);
    if (!view) throw py::error_already_set();
    results.append(view.attr("copy")());
  }
  return results;
}

}  // namespace

void register_backend(py::module_& m) {
  m.def(
      "check_library",
      [](const std::string& path) {
        if (auto object = read_shared_object(path); !object.ok()) return std::string(object.status().message());
        return std::string();
      },
      py::arg("path"), py::call_guard<py::gil_scoped_release>());
  m.def("run_trial", &try_command, py::arg("command"), py::arg("seconds"));
  py::class_<NativeModel>(m, "NativeModel")
      .def_property_readonly("inputs", [](const NativeModel& self) { return describe_ports(self.model->inputs()); })
      .def_property_readonly("outputs", [](const NativeModel& self) { return describe_ports(self.model->outputs()); })
      .def("execute", &execute, py::arg("inputs"));
  py::class_<NativeBackend, std::shared_ptr<NativeBackend>>(m, "NativeBackend")
      .def_static("load", &load, py::arg("plugin"), py::arg("libraries"), py::kw_only(), py::arg("trial_program"),
                  py::arg("trial_seconds"), py::call_guard<py::gil_scoped_release>())
      .def_static("examine", &examine, py::arg("plugin"), py::arg("libraries"), py::kw_only(), py::arg("trial_program"),
                  py::arg("trial_seconds"))
      .def_property_readonly("name", &NativeBackend::name)
      .def_property_readonly("version", &NativeBackend::version)
      .def_property_readonly("library", [](const NativeBackend& self) { return self.search().path; })
      .def_property_readonly("refused", [](const NativeBackend& self) { return refused_of(self.search()); })
      .def_property_readonly("warning", [](const NativeBackend& self) { return self.search().warning; })
      .def("open", &open, py::arg("path"), py::arg("options"), py::kw_only(), py::arg("device"),
           py::arg("companions") = std::vector<std::string>{}, py::call_guard<py::gil_scoped_release>())
      .def("open_in_memory", &open_in_memory, py::arg("files"), py::arg("options"), py::kw_only(), py::arg("device"));
}

}  // namespace servoir::bindings
