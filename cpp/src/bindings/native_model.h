// NativeModel: a model opened by a native backend, on its way from NativeBackend.open() to a worker's runtime.
#pragma once

#include <memory>

#include "native/model.h"

namespace servoir::bindings {

struct NativeModel {
  std::shared_ptr<Model> model;
};

}  // namespace servoir::bindings
