#include "request/form.h"

#include <cstring>
#include <functional>

namespace servoir {
namespace {

// Inputs without a batch dimension are compared up to this size. Requests with larger ones never share a batch.
constexpr std::uint64_t kComparedBytes = 4096;

constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15U + (hash << 6U) + (hash >> 2U);
  return hash * 0xFF51AFD7ED558CCDU;
}

bool is_unbatched(const CalleeSpec& callee, std::uint32_t input) {
  return callee.kind == CalleeSpec::Kind::kModel && !callee.input_ports[input].batched;
}

// The shape in which the callee is given the tensor: the port's where that is static, else the tensor's own. (How texts
// lie in memory depends on their own shape.)
const Shape& shape_for(const CalleeSpec& callee, std::uint32_t input, const TensorRef& tensor) {
  const bool fixed = callee.kind == CalleeSpec::Kind::kModel && callee.input_ports[input].is_static();
  return fixed && !is_text(tensor.dtype) ? callee.input_ports[input].shape : tensor.shape;
}

std::string unbatched_bytes(const CalleeSpec& callee, const Request& request, std::uint32_t stage,
                            std::uint32_t instance) {
  std::string bytes;
  for (std::uint32_t i = 0; i < callee.inputs; ++i) {
    if (!is_unbatched(callee, i)) continue;
    const TensorRef& tensor = input_of(request, stage, instance, i);
    if (tensor.bytes <= kComparedBytes) {
      bytes.append(reinterpret_cast<const char*>(tensor.data()), tensor.bytes);
    } else {
      // A tensor is equal to itself only.
      bytes.append(std::to_string(reinterpret_cast<std::uintptr_t>(tensor.data())));
    }
    bytes.push_back('\0');
  }
  return bytes;
}

bool are_alike(const CalleeSpec& callee, const Request& request, std::uint32_t stage, std::uint32_t one,
               std::uint32_t other) {
  for (std::uint32_t i = 0; i < callee.inputs; ++i) {
    const TensorRef& a = input_of(request, stage, one, i);
    const TensorRef& b = input_of(request, stage, other, i);
    if (a.dtype != b.dtype || !(shape_for(callee, i, a) == shape_for(callee, i, b))) return false;
    if (!is_unbatched(callee, i)) continue;
    if (a.bytes != b.bytes) return false;
    if (a.data() == b.data()) continue;
    if (a.bytes > kComparedBytes || std::memcmp(a.data(), b.data(), a.bytes) != 0) return false;
  }
  return true;
}

}  // namespace

const TensorRef& input_of(const Request& request, std::uint32_t stage, std::uint32_t instance, std::uint32_t input) {
  return request.at(request.method->spec->stages[stage].inputs[input], instance);
}

InputForm form_of(const CalleeSpec& callee, const Request& request, std::uint32_t stage, std::uint32_t instance,
                  std::uint32_t input) {
  const TensorRef& tensor = input_of(request, stage, instance, input);
  return {tensor.dtype, shape_for(callee, input, tensor)};
}

Status check_instance(const CalleeSpec& callee, const Request& request, std::uint32_t stage, std::uint32_t instance) {
  if (callee.kind == CalleeSpec::Kind::kFunction) return Status::Ok();
  for (std::uint32_t i = 0; i < callee.inputs; ++i) {
    const TensorRef& tensor = input_of(request, stage, instance, i);
    SERVOIR_RETURN_IF_ERROR(fits(i, callee.input_ports[i], tensor.dtype, tensor.shape, tensor.bytes));
  }
  return Status::Ok();
}

AlikeRun run_of(const CalleeSpec& callee, const Request& request, std::uint32_t stage, std::uint32_t instance) {
  AlikeRun run{stage, instance, 1, 0, unbatched_bytes(callee, request, stage, instance)};
  for (std::uint32_t i = 0; i < callee.inputs; ++i) {
    const TensorRef& tensor = input_of(request, stage, instance, i);
    const Shape& shape = shape_for(callee, i, tensor);
    run.hash = mix(run.hash, static_cast<std::uint64_t>(tensor.dtype));
    run.hash = mix(run.hash, shape.rank);
    for (const std::int64_t dim : shape.view()) run.hash = mix(run.hash, static_cast<std::uint64_t>(dim));
  }
  if (!run.unbatched.empty()) run.hash = mix(run.hash, std::hash<std::string>{}(run.unbatched));
  return run;
}

void find_alike(const CalleeSpec& callee, const Request& request, std::uint32_t stage, std::uint32_t first,
                std::uint32_t count, std::vector<AlikeRun>* runs) {
  for (std::uint32_t i = first; i < first + count;) {
    AlikeRun& run = runs->emplace_back(run_of(callee, request, stage, i));
    while (++i < first + count && are_alike(callee, request, stage, run.first, i)) ++run.count;
  }
}

}  // namespace servoir
