// What the protocol's tests, fuzzers and benchmarks share: a scheduler with running servables that nobody executes, and
// requests as text. Without gtest, so that fuzzers can use it.
//
//   servable "add", versions 1 and 3: add(x1, x2) → y       both inputs for one function, batches of 4
//                                     echo(x) → y           a model that takes numbers of any type, batches of 8
//                                     floats(x) → y         the same, with x declared as float32
//                                     typed(b, u, h, i, d, f) → y   a model of bool, uint8, float16, int64 and float64
//                                                           of any length, and float32 [?, 4]
//                                     many(x) → a, b, c     three outputs
//                                     nothing() → ()        neither inputs nor stages
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/lane.h"
#include "memory/arena.h"
#include "memory/payload.h"
#include "memory/slab.h"
#include "schedule/scheduler.h"

namespace servoir {

class IdleLane final : public LanePort {
 public:
  bool post(std::span<const std::byte> /*record*/) override { return false; }
  [[nodiscard]] std::uint32_t max_record() const override { return 1U << 20U; }
};

struct ProtocolWorld {
  std::unique_ptr<Arena> arena;
  std::unique_ptr<SlabPool> slabs;
  metrics::Registry figures;
  IdleLane lane;
  std::unique_ptr<Scheduler> scheduler;

  explicit ProtocolWorld(std::uint64_t arena_bytes = 256U << 20U) {
    arena = must(Arena::create(arena_bytes));
    slabs = std::make_unique<SlabPool>(arena.get());
    scheduler = std::make_unique<Scheduler>(slabs.get(), &figures, Scheduler::Hooks{});
    for (const std::uint64_t version : {std::uint64_t{1}, std::uint64_t{3}}) {
      const ServableId id = must(scheduler->publish(servable(version)));
      const std::vector<std::uint32_t> callees = {0, 1, 2, 3};
      (void)must(scheduler->attach(id, &lane, callees, "idle worker"));
    }
  }

  template <typename T>
  static T must(Result<T> result) {
    if (!result.ok()) {
      std::fprintf(stderr, "ProtocolWorld: %s\n", std::string(result.status().message()).c_str());
      std::abort();
    }
    return std::move(result).value();
  }

 private:
  static CalleeSpec callee(const std::string& name, std::uint32_t inputs, std::uint32_t outputs, std::uint32_t batch) {
    CalleeSpec spec;
    spec.name = name;
    spec.inputs = inputs;
    spec.outputs = outputs;
    spec.max_batch = batch;
    return spec;
  }
  static MethodSpec method(const std::string& name, std::vector<std::string> inputs, std::uint32_t callee_index,
                           std::vector<std::string> outputs) {
    MethodSpec spec;
    spec.name = name;
    const auto count = static_cast<std::uint32_t>(inputs.size());
    StageSpec stage;
    stage.callee = callee_index;
    stage.first_output = count;
    stage.outputs = static_cast<std::uint32_t>(outputs.size());
    for (std::uint32_t i = 0; i < count; ++i) stage.inputs.push_back(i);
    for (std::uint32_t i = 0; i < stage.outputs; ++i) spec.outputs.push_back(count + i);
    spec.values = count + stage.outputs;
    spec.inputs = std::move(inputs);
    spec.output_names = std::move(outputs);
    spec.stages.push_back(std::move(stage));
    return spec;
  }
  static ServableSpec servable(std::uint64_t version) {
    ServableSpec spec;
    spec.name = "add";
    spec.version = version;
    spec.callees = {callee("add", 2, 1, 4), callee("echo.onnx", 1, 1, 8), callee("many", 1, 3, 1),
                    callee("typed.onnx", 6, 1, 8)};
    CalleeSpec& model = spec.callees[1];
    model.kind = CalleeSpec::Kind::kModel;
    model.input_ports.push_back({{"x", DataType::kUnknown, false, Shape()}, true});
    model.output_ports.push_back({{"y", DataType::kFloat32, true, Shape({4})}, true});
    CalleeSpec& typed = spec.callees[3];
    typed.kind = CalleeSpec::Kind::kModel;
    for (const DataType dtype :
         {DataType::kBool, DataType::kUint8, DataType::kFloat16, DataType::kInt64, DataType::kFloat64}) {
      typed.input_ports.push_back({{std::string(name_of(dtype)), dtype, true, Shape({kDynamic})}, true});
    }
    typed.input_ports.push_back({{"float32", DataType::kFloat32, true, Shape({kDynamic, 4})}, true});
    typed.output_ports.push_back({{"y", DataType::kFloat32, true, Shape({4})}, true});
    spec.methods = {method("typed", {"b", "u", "h", "i", "d", "f"}, 3, {"y"}), method("add", {"x1", "x2"}, 0, {"y"}),
                    method("echo", {"x"}, 1, {"y"}), method("many", {"x"}, 2, {"a", "b", "c"}),
                    method("floats", {"x"}, 1, {"y"})};
    spec.methods.back().input_dtypes = {DataType::kFloat32};
    MethodSpec nothing;
    nothing.name = "nothing";
    spec.methods.push_back(nothing);
    return spec;
  }
};

// "add 3 | x1=float32[2]:0000803f00000040 x2=… | …": the method, the version, and for each instance its inputs.
inline std::string request_text(const Request& request) {
  const MethodSpec& method = *request.method->spec;
  std::string text = method.name + " " + std::to_string(request.method->servable->version);
  for (std::uint32_t i = 0; i < request.instances; ++i) {
    text += " |";
    for (std::uint32_t k = 0; k < method.inputs.size(); ++k) {
      const TensorRef& value = request.at(k, i);
      text += " " + method.inputs[k] + "=" + std::string(name_of(value.dtype)) + value.shape.text() + ":";
      if (value.bytes == 0) continue;
      const std::byte* const data = value.data();
      for (std::uint64_t b = 0; b < value.bytes; ++b) {
        constexpr std::string_view kHex = "0123456789abcdef";
        const auto byte = std::to_integer<unsigned>(data[b]);
        text += kHex[byte >> 4U];
        text += kHex[byte & 15U];
      }
    }
  }
  return text;
}

// Its text, or "CODE: message".
inline std::string result_text(const Result<std::shared_ptr<Request>>& result) {
  if (result.ok()) return request_text(**result);
  return std::to_string(static_cast<int>(result.status().code())) + ": " + std::string(result.status().message());
}

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A tensor in the arena with these bytes.
inline TensorRef make_tensor(Arena* arena, DataType dtype, const Shape& shape, std::string_view bytes) {
  TensorRef ref;
  ref.block = ProtocolWorld::must(arena->allocate(bytes.size()));
  ref.offset = ref.block->offset();
  ref.bytes = bytes.size();
  ref.dtype = dtype;
  ref.shape = shape;
  if (!bytes.empty()) std::memcpy(ref.data(), bytes.data(), bytes.size());
  return ref;
}
template <typename T>
TensorRef make_numbers(Arena* arena, DataType dtype, const Shape& shape, const std::vector<T>& values) {
  return make_tensor(arena, dtype, shape, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
}

// All its bytes; empties it.
inline std::string payload_text(Payload* payload) {
  std::string text(payload->remaining(), '\0');
  text.resize(payload->read({text.data(), text.size()}));
  return text;
}

}  // namespace servoir
