// servoir._core: the C++ part of the package. What it holds is written down in _core.pyi.
#include <pybind11/pybind11.h>

#include "channel/message.h"

namespace servoir::bindings {

void register_log(pybind11::module_& m);
void register_server(pybind11::module_& m);
void register_worker(pybind11::module_& m);
void register_backend(pybind11::module_& m);

}  // namespace servoir::bindings

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ part of Servoir. Private: the typed packages beside it are the API.";
  m.attr("__version__") = SERVOIR_VERSION;
  m.attr("channel_version") = servoir::kChannelVersion;
  servoir::bindings::register_log(m);
  servoir::bindings::register_server(m);
  servoir::bindings::register_worker(m);
  servoir::bindings::register_backend(m);
}
