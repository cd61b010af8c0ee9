#include "worker/batching.h"

#include <gtest/gtest.h>

#include "fake_model.h"

namespace servoir {
namespace {

using Ports = std::vector<Port>;

std::string found(const Ports& inputs, const Ports& outputs, const Batching& batching = {}) {
  const Result<std::uint32_t> size = batch_size(inputs, outputs, batching);
  return size.ok() ? std::to_string(*size) : std::string(size.status().message());
}

TEST(BatchSize, IsTheFirstDimensionOfAllThatHaveABatch) {
  const Ports open = {float_port("x", {kDynamic, 4})};
  EXPECT_EQ(found(open, open), "0");
  EXPECT_EQ(found({float_port("x", {8, 4}), float_port("w", {kDynamic})}, open), "8");
  EXPECT_EQ(found(open, {float_port("y", {8})}), "8");
  EXPECT_EQ(found({{"x", DataType::kFloat32, false, {}}}, open), "0");
  EXPECT_EQ(found({float_port("x", {8, 4}), float_port("w", {3})}, open, {true, {1}, {}}), "8");
  EXPECT_EQ(found(open, {float_port("y", {kDynamic}), float_port("c", {2})}, {true, {}, {1}}), "0");
  EXPECT_EQ(found({float_port("x", {})}, {float_port("y", {2})}, {false, {}, {}}), "1");
}

TEST(BatchSize, ContradictionsAreNamed) {
  EXPECT_EQ(found({float_port("x", {8}), float_port("w", {7})}, {}),
            "input 'w' has 7 as its first dimension, but input 'x' has 8; with a batch dimension all of them must be "
            "the same");
  EXPECT_EQ(found({float_port("x", {0, 4})}, {}), "input 'x' has shape [0, 4]; a batch dimension of 0 is of no use");
  EXPECT_EQ(found({float_port("x", {8})}, {float_port("y", {})}),
            "output 'y' is a single value and has no batch dimension");
  EXPECT_EQ(found({float_port("x", {8})}, {}, {true, {1}, {}}),
            "input 1 is said to have no batch dimension, but the model has 1 inputs");
  EXPECT_EQ(found({float_port("x", {8})}, {float_port("y", {8})}, {true, {}, {3}}),
            "output 3 is said to have no batch dimension, but the model has 1 outputs");
}

}  // namespace
}  // namespace servoir
