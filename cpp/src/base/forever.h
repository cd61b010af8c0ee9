// A value that is never destroyed, for what other threads may still use while the process ends.
#pragma once

#include <utility>

namespace servoir {

template <typename T>
union Forever {
  template <typename... Args>
  explicit Forever(Args&&... args) : value(std::forward<Args>(args)...) {}
  ~Forever() {}  // NOLINT(modernize-use-equals-default): must not destroy the value
  T value;
};

}  // namespace servoir
