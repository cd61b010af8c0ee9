// The limit of requests that wait for their answer, as it is when nobody sets it.
#include <gtest/gtest.h>

#include <string_view>

#include "schedule/scheduler.h"
#include "servable_fixture.h"

namespace servoir {
namespace {

TEST_F(SchedulerTest, TheLimitOfRequestsIs10000UnlessSet) {
  FakeLane lane;
  attach(publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}), &lane, {0});
  for (int i = 0; i < 10'000; ++i) submit("m", {floats({1}, 1)});
  ASSERT_EQ(answered.size(), 0U);
  const auto next = submit("m", {floats({1}, 1)});
  ASSERT_EQ(answered.size(), 1U);
  EXPECT_EQ(next->failure.code(), Code::kResourceExhausted);
  EXPECT_NE(next->failure.message().find("10000 are waiting"), std::string_view::npos) << next->failure.message();
}

}  // namespace
}  // namespace servoir
