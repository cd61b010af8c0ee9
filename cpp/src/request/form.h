// What the inputs of a stage look like to its callee, which decides what may share a batch.
//
// Pure functions over a request's values. They take time for each instance, so a new request is looked at before the
// lock of its queues is taken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "request/graph.h"
#include "request/request.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace servoir {

// An input of an instance, as the callee sees it.
struct InputForm {
  DataType dtype = DataType::kUnknown;
  Shape row_shape;
  bool operator==(const InputForm&) const = default;
};

// Consecutive instances that are at a stage, and may share a batch: their inputs agree in dtype and shape, and those
// without batch dimension in content.
struct AlikeRun {
  std::uint32_t stage = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::uint64_t hash = 0;  // of all that has to agree
  std::string unbatched;   // the bytes of the inputs without batch dimension
};

[[nodiscard]] const TensorRef& input_of(const Request& request, std::uint32_t stage, std::uint32_t instance,
                                        std::uint32_t input);
[[nodiscard]] InputForm form_of(const CalleeSpec& callee, const Request& request, std::uint32_t stage,
                                std::uint32_t instance, std::uint32_t input);
// Ok if the inputs of the instance fit the callee, which they always do for a function; otherwise what does not fit.
[[nodiscard]] Status check_instance(const CalleeSpec& callee, const Request& request, std::uint32_t stage,
                                    std::uint32_t instance);
// The run of this one instance.
[[nodiscard]] AlikeRun run_of(const CalleeSpec& callee, const Request& request, std::uint32_t stage,
                              std::uint32_t instance);
// Appends the instances [first, first + count), all of which check_instance() accepts, as runs.
void find_alike(const CalleeSpec& callee, const Request& request, std::uint32_t stage, std::uint32_t first,
                std::uint32_t count, std::vector<AlikeRun>* runs);

}  // namespace servoir
