#include "worker/batching.h"

#include <algorithm>
#include <string>

namespace servoir {
namespace {

struct Found {
  std::int64_t size = 0;  // 0: none yet
  std::string place;      // where
};

Status join(const std::string& side, std::span<const Port> ports, const std::vector<std::uint32_t>& unbatched,
            Found* found) {
  for (const std::uint32_t index : unbatched) {
    if (index >= ports.size()) {
      return Status::InvalidArgument(side + " " + std::to_string(index) +
                                     " is said to have no batch dimension, but the model has " +
                                     std::to_string(ports.size()) + " " + side + "s");
    }
  }
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const Port& port = ports[i];
    if (!port.rank_known || std::find(unbatched.begin(), unbatched.end(), i) != unbatched.end()) continue;
    const std::string place = side + " '" + port.name + "'";
    if (port.shape.rank == 0) {
      return Status::InvalidArgument(place + " is a single value and has no batch dimension");
    }
    const std::int64_t first = port.shape.dims[0];
    if (first == kDynamic) continue;
    if (first < 1 || first > UINT32_MAX) {
      return Status::InvalidArgument(place + " has shape " + port.shape.text() + "; a batch dimension of " +
                                     std::to_string(first) + " is of no use");
    }
    if (found->size != 0 && found->size != first) {
      return Status::InvalidArgument(place + " has " + std::to_string(first) + " as its first dimension, but " +
                                     found->place + " has " + std::to_string(found->size) +
                                     "; with a batch dimension all of them must be the same");
    }
    if (found->size == 0) *found = {first, place};
  }
  return Status::Ok();
}

}  // namespace

Result<std::uint32_t> batch_size(std::span<const Port> inputs, std::span<const Port> outputs,
                                 const Batching& batching) {
  if (!batching.with_batch_dim) return 1U;
  Found found;
  SERVOIR_RETURN_IF_ERROR(join("input", inputs, batching.unbatched_inputs, &found));
  SERVOIR_RETURN_IF_ERROR(join("output", outputs, batching.unbatched_outputs, &found));
  return static_cast<std::uint32_t>(found.size);
}

}  // namespace servoir
