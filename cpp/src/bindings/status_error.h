// The one place where a Status becomes an exception: pybind11 turns it into a Python RuntimeError.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "base/status.h"

namespace servoir::bindings {

inline void raise_if_failed(const Status& status) {
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
}

template <typename T>
[[nodiscard]] T value_or_raise(Result<T> result) {
  raise_if_failed(result.status());
  return std::move(result).value();
}

}  // namespace servoir::bindings
