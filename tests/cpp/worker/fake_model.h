// A model in C++ for tests: its function says what to do with a batch, and it notes what it was given.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "native/model.h"

namespace servoir {

class FakeModel final : public Model {
 public:
  struct Call {
    std::vector<const std::byte*> inputs;
    std::vector<Shape> shapes;
    std::vector<bool> rooms;
  };
  using Function = std::function<Status(FakeModel&, std::span<const ModelInput>, std::span<ModelOutput>)>;

  FakeModel(std::vector<Port> inputs, std::vector<Port> outputs, Function function)
      : inputs_(std::move(inputs)), outputs_(std::move(outputs)), function_(std::move(function)) {}

  [[nodiscard]] const std::vector<Port>& inputs() const override { return inputs_; }
  [[nodiscard]] const std::vector<Port>& outputs() const override { return outputs_; }
  [[nodiscard]] Status execute(std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) override {
    Call call;
    for (const ModelInput& input : inputs) {
      call.inputs.push_back(input.data);
      call.shapes.push_back(input.shape);
    }
    for (const ModelOutput& output : outputs) call.rooms.push_back(output.data != nullptr);
    calls.push_back(std::move(call));
    return function_(*this, inputs, outputs);
  }

  // Puts the values into the room if the shape is the expected one, else gives own memory.
  void give(const std::vector<float>& values, const Shape& shape, ModelOutput* output) {
    const std::uint64_t bytes = values.size() * sizeof(float);
    if (!output->expected || output->shape != shape || output->data == nullptr) {
      std::vector<float>& own = own_[output];
      own = values;
      output->data = reinterpret_cast<std::byte*>(own.data());
    } else if (bytes != 0) {
      std::memcpy(output->data, values.data(), bytes);
    }
    output->dtype = DataType::kFloat32;
    output->shape = shape;
    output->bytes = bytes;
  }

  std::vector<Call> calls;

 private:
  std::vector<Port> inputs_;
  std::vector<Port> outputs_;
  Function function_;
  std::map<const ModelOutput*, std::vector<float>> own_;
};

inline std::vector<float> floats_of(const ModelInput& input) {
  std::vector<float> values(input.bytes / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), input.data, input.bytes);
  return values;
}

// y = x + 1, any shape; fails for a batch that holds 666.
inline Status plus_one(FakeModel& model, std::span<const ModelInput> inputs, std::span<ModelOutput> outputs) {
  std::vector<float> values = floats_of(inputs[0]);
  for (float& value : values) {
    if (value == 666) return Status::Internal("the model hates 666");
    value += 1;
  }
  model.give(values, inputs[0].shape, outputs.data());
  return Status::Ok();
}

inline Port float_port(const char* name, Shape shape) { return {name, DataType::kFloat32, true, shape}; }

}  // namespace servoir
