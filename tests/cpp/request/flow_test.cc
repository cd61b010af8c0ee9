#include "request/flow.h"

#include <gtest/gtest.h>

#include "support/small_servable.h"

namespace servoir {
namespace {

// x -> a -> {b, c} -> d(b, c); x -> d too. Stage numbers 0 to 3.
std::shared_ptr<const Method> diamond() {
  auto spec = std::make_shared<ServableSpec>();
  spec->name = "s";
  spec->callees = {function_callee("a", 1, 1, 8), function_callee("d", 3, 1, 8)};
  MethodSpec method;
  method.name = "m";
  method.inputs = {"x"};
  method.stages = {{0, {0}, 1, 1, ""}, {0, {1}, 2, 1, ""}, {0, {1}, 3, 1, ""}, {1, {2, 0, 3}, 4, 1, ""}};
  method.output_names = {"y"};
  method.outputs = {4};
  method.values = 5;
  spec->methods = {method};
  EXPECT_TRUE(check(*spec).ok());
  return make_method(spec, spec->methods.data(), 1);
}

std::vector<std::vector<std::uint32_t>> plain(const std::vector<ReadyRun>& runs) {
  std::vector<std::vector<std::uint32_t>> out;
  for (const ReadyRun& run : runs) out.push_back({run.stage, run.first, run.count});
  return out;
}

using Runs = std::vector<std::vector<std::uint32_t>>;

TEST(Flow, AStageIsReadyWhenItsLastInputIs) {
  Request request(diamond(), 3);
  std::vector<ReadyRun> ready;
  flow_start(&request, &ready);
  EXPECT_EQ(plain(ready), (Runs{{0, 0, 3}}));
  ready.clear();
  flow_stage_done(&request, 0, 0, 2, &ready);
  EXPECT_EQ(plain(ready), (Runs{{1, 0, 2}, {2, 0, 2}}));
  ready.clear();
  flow_stage_done(&request, 1, 0, 2, &ready);
  EXPECT_TRUE(ready.empty()) << "d waits for c";
  flow_stage_done(&request, 2, 1, 1, &ready);
  EXPECT_EQ(plain(ready), (Runs{{3, 1, 1}}));
  ready.clear();
  flow_stage_done(&request, 3, 1, 1, &ready);
  EXPECT_FALSE(flow_finished(request));
}

TEST(Flow, AFailedInstanceIsFinishedAndNotPassedOn) {
  Request request(diamond(), 3);
  std::vector<ReadyRun> ready;
  flow_start(&request, &ready);
  ready.clear();
  flow_fail(&request, 1, Status::Internal("first"));
  flow_fail(&request, 1, Status::Internal("second"));
  EXPECT_EQ(request.errors[1].message(), "first");
  flow_stage_done(&request, 0, 0, 3, &ready);
  EXPECT_EQ(plain(ready), (Runs{{1, 0, 1}, {1, 2, 1}, {2, 0, 1}, {2, 2, 1}}));
  for (const std::uint32_t stage : {1U, 2U, 3U}) {
    EXPECT_FALSE(flow_finished(request));
    flow_stage_done(&request, stage, 0, 3, &ready);
  }
  EXPECT_TRUE(flow_finished(request));
}

TEST(Flow, AnInstanceThatIsFinishedCannotFail) {
  Request request(diamond(), 1);
  std::vector<ReadyRun> ready;
  flow_start(&request, &ready);
  for (const std::uint32_t stage : {0U, 1U, 2U, 3U}) flow_stage_done(&request, stage, 0, 1, &ready);
  EXPECT_TRUE(flow_finished(request));
  flow_fail(&request, 0, Status::Internal("late"));
  EXPECT_TRUE(flow_finished(request));
  EXPECT_EQ(request.progress.open, 0U);
}

}  // namespace
}  // namespace servoir
