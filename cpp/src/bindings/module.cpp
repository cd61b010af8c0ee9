// servoir._core: the C++ part of the package. What it holds is written down in _core.pyi.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "channel/message.h"
#include "status_error.h"
#include "tensor/dtype.h"

namespace servoir::bindings {

void register_log(pybind11::module_& m);
void register_server(pybind11::module_& m);
void register_worker(pybind11::module_& m);
void register_backend(pybind11::module_& m);

namespace {

// The names of the element types, in the order of their numbers, which begin with 1.
pybind11::tuple dtype_names() {
  pybind11::list names;
  for (std::uint8_t number = 1; is_known(number); ++number) {
    names.append(std::string(name_of(static_cast<DataType>(number))));
  }
  return names;
}

}  // namespace

}  // namespace servoir::bindings

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ part of Servoir. Private: the typed packages around it are the API.";
  m.attr("__version__") = SERVOIR_VERSION;
  m.attr("channel_version") = servoir::kChannelVersion;
  m.attr("dtypes") = servoir::bindings::dtype_names();
  servoir::bindings::register_status_error();
  servoir::bindings::register_log(m);
  servoir::bindings::register_server(m);
  servoir::bindings::register_worker(m);
  servoir::bindings::register_backend(m);
}
