// Server and Lane.
//
// Every call into the server releases the interpreter lock: it may wait for an I/O thread, and a thread of the server's
// may wait for the interpreter (the callback of on_lane_failure).
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/text.h"
#include "net/address.h"
#include "servable_spec.h"
#include "server/server.h"
#include "status_error.h"

namespace servoir::bindings {

namespace py = pybind11;

namespace {

struct Lane {
  std::shared_ptr<ServerLane> lane;
};

class PyServer {
 public:
  PyServer(std::uint64_t arena_limit, std::uint32_t io_threads, std::uint32_t max_connections, bool take_nonfinite)
      : server_(value_or_raise(Server::create({.arena_limit = arena_limit,
                                               .io_threads = io_threads,
                                               .max_connections = max_connections,
                                               .take_nonfinite = take_nonfinite}))) {}
  ~PyServer() {
    // After stop() nothing is waited for. At the interpreter's end a daemon thread does not get back the lock that it
    // lets go of, and is ended in a way that a destructor cannot be.
    if (stopped_) return;
    const py::gil_scoped_release release;
    server_.reset();
  }
  PyServer(const PyServer&) = delete;
  PyServer& operator=(const PyServer&) = delete;

  Server* operator->() const { return server_.get(); }
  void stop() {
    {
      const py::gil_scoped_release release;
      server_->stop();
    }
    stopped_ = true;
  }

 private:
  bool stopped_ = false;  // guarded by the interpreter's lock
  std::unique_ptr<Server> server_;
};

Protocol protocol_of(const std::string& name) {
  if (name == "grpc") return Protocol::kGrpc;
  if (name == "rest") return Protocol::kRest;
  raise(Status::InvalidArgument("the protocol of a listener is " + quoted(name) + "; it can be 'grpc' or 'rest'"));
}

PemFile pem_file_of(const py::handle& pair) {
  const auto [path, text] = py::cast<std::pair<std::string, py::bytes>>(pair);
  return {path, text};
}

// {"certificate": (path, content), "private_key": …, "custom_ca": … or None}
std::optional<TlsSettings> tls_settings_of(const std::optional<py::dict>& tls) {
  if (!tls) return std::nullopt;
  TlsSettings settings;
  settings.certificate = pem_file_of((*tls)["certificate"]);
  settings.private_key = pem_file_of((*tls)["private_key"]);
  const py::object custom_ca = (*tls)["custom_ca"];
  settings.verify_client = !custom_ca.is_none();
  if (settings.verify_client) settings.custom_ca = pem_file_of(custom_ca);
  return settings;
}

// The callback outlives calls in any thread; its last owner releases it with the interpreter's lock held.
LaneFailure lane_failure_callback(py::function callback) {
  std::shared_ptr<py::function> held(new py::function(std::move(callback)), [](py::function* function) {
    const py::gil_scoped_acquire acquire;
    std::default_delete<py::function>()(function);
  });
  return [held](AttachmentId attachment, const std::string& reason, bool overdue) {
    const py::gil_scoped_acquire acquire;
    try {
      (*held)(attachment, reason, overdue);
    } catch (py::error_already_set& error) {
      SERVOIR_ERROR(std::string("the callback for a lane's failure failed: ") + error.what());
    }
  };
}

const char* name_of(metrics::Kind kind) {
  switch (kind) {
    case metrics::Kind::kCounter:
      return "counter";
    case metrics::Kind::kGauge:
      return "gauge";
    case metrics::Kind::kHistogram:
      return "histogram";
  }
  return "";
}

// See servoir.figures for the form.
py::dict figures_dict(const metrics::Snapshot& snapshot) {
  py::dict figures;
  for (const metrics::Family& family : snapshot.families) {
    py::list samples;
    for (const metrics::Sample& sample : family.samples) {
      py::dict labels;
      for (const metrics::Label& label : sample.labels->labels) labels[py::str(label.name.text)] = label.value;
      py::dict one;
      one["labels"] = labels;
      one["value"] = sample.value;
      one["buckets"] = sample.buckets;
      samples.append(one);
    }
    py::dict figure;
    figure["kind"] = name_of(family.kind);
    figure["help"] = family.help;
    figure["unit"] = metrics::text(family.unit);
    figure["bounds"] = family.bounds;
    figure["samples"] = samples;
    figures[py::str(family.name)] = figure;
  }
  return figures;
}

}  // namespace

void register_server(py::module_& m) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;

  m.def(
      "check_address",
      [](const std::string& address) { return value_or_raise(check_address(address)).is_unix ? "unix" : "tcp"; },
      py::arg("address"));

  py::class_<Lane>(m, "Lane", "Shared memory and wake-up of one lane of a worker, made by Server.open_lane().")
      .def_property_readonly("memory_fd", [](const Lane& lane) { return lane.lane->memory_fd(); })
      .def_property_readonly("event_fd", [](const Lane& lane) { return lane.lane->event_fd(); })
      .def("close_memory_fd", [](const Lane& lane) { lane.lane->close_memory_fd(); });

  py::class_<PyServer>(m, "Server", "Listeners, queues and arena of this process.")
      .def(py::init<std::uint64_t, std::uint32_t, std::uint32_t, bool>(), py::kw_only(), py::arg("arena_limit"),
           py::arg("io_threads"), py::arg("max_connections") = ServerOptions().max_connections,
           py::arg("take_nonfinite") = false)
      .def_property_readonly("arena_fd", [](const PyServer& server) { return server->arena_fd(); })
      .def(
          "listen",
          [](const PyServer& server, const std::string& address, const std::string& protocol,
             std::uint64_t max_message_bytes, const std::optional<py::dict>& tls) {
            const Protocol spoken = protocol_of(protocol);
            const std::optional<TlsSettings> settings = tls_settings_of(tls);
            const py::gil_scoped_release release;
            return value_or_raise(server->listen(address, spoken, max_message_bytes, settings ? &*settings : nullptr));
          },
          py::arg("address"), py::arg("protocol"), py::arg("max_message_bytes"), py::arg("tls") = py::none())
      .def(
          "listener_address",
          [](const PyServer& server, std::uint32_t listener) {
            return value_or_raise(server->listener_address(listener));
          },
          py::arg("listener"), Unlocked())
      .def(
          "close_listener",
          [](const PyServer& server, std::uint32_t listener) { raise_if_failed(server->close_listener(listener)); },
          py::arg("listener"), Unlocked())
      .def(
          "publish",
          [](const PyServer& server, const py::dict& spec) {
            ServableSpec parsed = servable_spec_of(spec);
            const py::gil_scoped_release release;
            return value_or_raise(server->publish(std::move(parsed)));
          },
          py::arg("spec"))
      .def(
          "withdraw",
          [](const PyServer& server, ServableId servable, const std::string& reason) {
            raise_if_failed(server->withdraw(servable, reason));
          },
          py::arg("servable"), py::arg("reason"), Unlocked())
      .def(
          "open_lane", [](const PyServer& server) { return Lane{value_or_raise(server->open_lane())}; }, Unlocked())
      .def(
          "attach_lane",
          [](const PyServer& server, ServableId servable, const Lane& lane, const std::vector<std::uint32_t>& callees,
             const std::string& name) {
            return value_or_raise(server->attach_lane(servable, lane.lane, callees, name));
          },
          py::arg("servable"), py::arg("lane"), py::arg("callees"), py::arg("name"), Unlocked())
      .def(
          "detach_lane",
          [](const PyServer& server, AttachmentId attachment, const std::string& reason, bool by_itself) {
            return value_or_raise(server->detach_lane(attachment, reason, by_itself));
          },
          py::arg("attachment"), py::arg("reason"), py::arg("by_itself") = false, Unlocked())
      .def(
          "drain_lane",
          [](const PyServer& server, AttachmentId attachment) {
            return value_or_raise(server->drain_lane(attachment));
          },
          py::arg("attachment"), Unlocked())
      .def(
          "on_lane_failure",
          [](const PyServer& server, py::function callback) {
            auto function = lane_failure_callback(std::move(callback));
            const py::gil_scoped_release release;
            server->on_lane_failure(std::move(function));
          },
          py::arg("callback"))
      .def(
          "set_max_enqueued_requests",
          [](const PyServer& server, std::uint64_t limit) { server->set_max_enqueued_requests(limit); },
          py::arg("limit"), Unlocked())
      .def("stats",
           [](const PyServer& server) {
             metrics::Snapshot snapshot;
             {
               const py::gil_scoped_release release;
               snapshot = server->stats();
             }
             return figures_dict(snapshot);
           })
      .def(
          "announce_end", [](const PyServer& server) { server->announce_end(); }, Unlocked())
      .def(
          "drain", [](const PyServer& server) { server->drain(); }, Unlocked())
      .def(
          "busy_connections", [](const PyServer& server) { return server->busy_connections(); }, Unlocked())
      .def(
          "open_connections", [](const PyServer& server) { return server->open_connections(); }, Unlocked())
      .def(
          "close_doors", [](const PyServer& server) { server->close_doors(); }, Unlocked())
      .def("stop", [](PyServer& server) { server.stop(); });
}

}  // namespace servoir::bindings
