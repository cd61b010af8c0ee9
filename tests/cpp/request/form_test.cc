#include "request/form.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "memory/arena.h"
#include "memory/slab.h"
#include "support/small_servable.h"

namespace servoir {
namespace {

class FormTest : public ::testing::Test {
 protected:
  std::vector<AlikeRun> runs_of(const std::vector<TensorRef>& instances) {
    auto spec = std::make_shared<ServableSpec>();
    spec->name = "s";
    spec->callees = {function_callee("f", 1, 1, 4)};
    spec->methods = {chain("m", {0})};
    const auto made =
        make_request(make_method(spec, spec->methods.data(), 1), static_cast<std::uint32_t>(instances.size()));
    for (std::uint32_t i = 0; i < instances.size(); ++i) made->at(0, i) = instances[i];
    std::vector<AlikeRun> runs;
    find_alike(spec->callees[0], *made, 0, 0, made->instances, &runs);
    return runs;
  }
  TensorRef floats(const Shape& shape, float value) { return floats_in(&slabs, shape, value); }

  std::unique_ptr<Arena> arena = Arena::create(64U << 20U).value();
  SlabPool slabs{arena.get()};
};

// What is done for each run is done under a lock, however many instances it has.
TEST_F(FormTest, ManyInstancesOfOneShapeAreOneRun) {
  const std::vector<AlikeRun> runs = runs_of(std::vector<TensorRef>(100'000, floats({2}, 1)));
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].count, 100'000U);
}

TEST_F(FormTest, AnotherShapeOrTypeStartsARun) {
  TensorRef integers = floats({2}, 1);
  integers.dtype = DataType::kInt32;
  const std::vector<AlikeRun> runs =
      runs_of({floats({2}, 1), floats({2}, 2), floats({3}, 3), integers, floats({2}, 4)});
  ASSERT_EQ(runs.size(), 4U);
  EXPECT_EQ(runs[0].count, 2U);
  EXPECT_EQ(runs[1].first, 2U);
  EXPECT_NE(runs[0].hash, runs[1].hash);
  EXPECT_NE(runs[0].hash, runs[2].hash);
  EXPECT_EQ(runs[0].hash, runs[3].hash);
}

}  // namespace
}  // namespace servoir
