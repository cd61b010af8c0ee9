// The only place where a Status becomes an exception. Python sees a RuntimeError with the Status's text, and the number
// of its code as the attribute `code`. Any thread may throw; register_status_error() is called once, while the module
// is imported.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/status.h"

namespace servoir::bindings {

class StatusError : public std::runtime_error {
 public:
  explicit StatusError(const Status& status)
      : std::runtime_error(std::string(status.message())), code_(status.code()) {}
  [[nodiscard]] Code code() const { return code_; }

 private:
  Code code_;
};

[[noreturn]] inline void raise(const Status& status) { throw StatusError(status); }

inline void raise_if_failed(const Status& status) {
  if (!status.ok()) raise(status);
}

template <typename T>
[[nodiscard]] T value_or_raise(Result<T> result) {
  raise_if_failed(result.status());
  return std::move(result).value();
}

inline void register_status_error() {
  pybind11::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const StatusError& error) {
      const pybind11::object raised = pybind11::handle(PyExc_RuntimeError)(error.what());
      raised.attr("code") = static_cast<int>(error.code());
      PyErr_SetObject(PyExc_RuntimeError, raised.ptr());
    }
  });
}

}  // namespace servoir::bindings
