// The dict that describes a servable (Server.publish) as a ServableSpec.
#pragma once

#include <pybind11/pybind11.h>

#include "request/graph.h"

namespace servoir::bindings {

// Raises RuntimeError, naming the place, when something is missing or of the wrong kind. Whether the numbers make sense
// is for check() in request/graph.h.
[[nodiscard]] ServableSpec servable_spec_of(const pybind11::dict& dict);

}  // namespace servoir::bindings
