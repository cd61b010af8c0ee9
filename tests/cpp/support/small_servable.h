// Callees, methods and tensors for tests of what runs requests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "memory/slab.h"
#include "memory/tensor_ref.h"
#include "request/graph.h"

namespace servoir {

inline CalleeSpec function_callee(const std::string& name, std::uint32_t inputs, std::uint32_t outputs,
                                  std::uint32_t max_batch) {
  CalleeSpec callee;
  callee.name = name;
  callee.inputs = inputs;
  callee.outputs = outputs;
  callee.max_batch = max_batch;
  return callee;
}

// A model of one input and one output of this row shape.
inline CalleeSpec model_callee(const std::string& name, const Shape& row_shape, std::uint32_t max_batch) {
  CalleeSpec callee = function_callee(name, 1, 1, max_batch);
  callee.kind = CalleeSpec::Kind::kModel;
  callee.input_ports.push_back({{"x", DataType::kFloat32, true, row_shape}, true});
  callee.output_ports.push_back({{"y", DataType::kFloat32, true, row_shape}, true});
  return callee;
}

// A method that runs these callees (each of one input and output) one after the other.
inline MethodSpec chain(const std::string& name, const std::vector<std::uint32_t>& callees) {
  MethodSpec method;
  method.name = name;
  method.inputs = {"x"};
  std::uint32_t value = 0;
  for (const std::uint32_t callee : callees) {
    StageSpec stage;
    stage.callee = callee;
    stage.inputs = {value};
    stage.first_output = ++value;
    stage.outputs = 1;
    method.stages.push_back(stage);
  }
  method.output_names = {"y"};
  method.outputs = {value};
  method.values = value + 1;
  return method;
}

// A tensor of float32 whose elements are all `value`.
inline TensorRef floats_in(SlabPool* slabs, const Shape& shape, float value, std::uint64_t consumer = 1) {
  const std::uint64_t bytes = *shape.byte_size(DataType::kFloat32);
  Result<Place> place = slabs->reserve({consumer, bytes}, 1, 4);
  EXPECT_TRUE(place.ok());
  for (std::uint64_t i = 0; i < bytes / sizeof(float); ++i) {
    std::memcpy(place->data + i * sizeof(float), &value, sizeof(float));
  }
  return {place->block, place->offset, bytes, DataType::kFloat32, shape};
}

}  // namespace servoir
