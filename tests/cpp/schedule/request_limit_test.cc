// The limit of requests that wait for their answer, and the share that one servable has of it.
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

class ServableShare : public SchedulerTest {
 protected:
  ServableId serve(const std::string& name, std::uint64_t version = 1) {
    const ServableId id = publish({function_callee("f", 1, 1, 1)}, {chain("m", {0})}, version, name);
    lanes_.push_back(std::make_unique<FakeLane>());
    attach(id, lanes_.back().get(), {0});
    return id;
  }
  // Whether the request waits for its answer.
  bool is_let_in(const std::string& servable, std::uint64_t version = 0) {
    auto made = request("m", {floats({1}, 1)}, version, servable);
    made->answer = nullptr;
    scheduler->submit(made);
    last_ = made->failure;
    if (last_.ok()) waiting_.push_back(made);
    return last_.ok();
  }

  std::vector<std::unique_ptr<FakeLane>> lanes_;
  std::vector<std::shared_ptr<Request>> waiting_;
  Status last_;
};

TEST_F(ServableShare, AServableThatHangsLeavesHalfOfTheLimitToOthers) {
  serve("hung");
  const ServableId other = serve("other");
  scheduler->set_max_enqueued_requests(10);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(is_let_in("hung"));
  ASSERT_FALSE(is_let_in("hung"));
  EXPECT_EQ(last_.code(), Code::kResourceExhausted);
  EXPECT_EQ(last_.message(),
            "too many requests for servable 'hung': 5 are waiting for their answer, which is the most for one of "
            "several servables: half of the limit of 10 (set_max_enqueued_requests); try again later");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(is_let_in("other"));
  ASSERT_FALSE(is_let_in("other"));
  scheduler->cancel(waiting_.back(), Status::Cancelled("gone"));
  EXPECT_TRUE(is_let_in("other")) << "an answered request gives its place back";
  scheduler->withdraw(other, "");
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(is_let_in("hung")) << "a servable that is alone has all of it";
  EXPECT_FALSE(is_let_in("hung"));
  EXPECT_TRUE(last_.message().starts_with("too many requests: 10 are waiting")) << last_.message();
}

TEST_F(ServableShare, TheVersionsOfAServableHaveOneShare) {
  serve("hung", 1);
  serve("hung", 2);
  serve("other");
  scheduler->set_max_enqueued_requests(10);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(is_let_in("hung", 1 + static_cast<std::uint64_t>(i % 2)));
  EXPECT_FALSE(is_let_in("hung", 1));
  EXPECT_FALSE(is_let_in("hung", 2));
  EXPECT_TRUE(is_let_in("other"));
}

TEST_F(ServableShare, AServableThatHangsLeavesHalfOfTheMemoryToOthers) {
  serve("hung");
  const ServableId other = serve("other");
  const std::uint64_t part = arena->limit() / 5;
  MemoryBudget connection(arena->limit());
  const auto is_let_in_with = [&](const std::string& servable, std::uint64_t bytes) {
    auto made = request("m", {floats({1}, 1)}, 0, servable);
    made->answer = nullptr;
    made->memory = MemoryShare(&connection, 0);
    EXPECT_TRUE(made->memory.add(bytes));
    scheduler->submit(made);
    last_ = made->failure;
    if (last_.ok()) waiting_.push_back(made);
    return last_.ok();
  };
  ASSERT_TRUE(is_let_in_with("hung", part));
  ASSERT_TRUE(is_let_in_with("hung", part));
  ASSERT_FALSE(is_let_in_with("hung", part));
  EXPECT_EQ(last_.code(), Code::kResourceExhausted);
  EXPECT_EQ(last_.message(),
            "too much memory for servable 'hung': its requests that wait for their answer have " +
                std::to_string(2 * part) + " bytes, and this one has " + std::to_string(part) + "; the most is " +
                std::to_string(arena->limit() / 2) +
                " for one of several servables: half of the arena's limit (SERVOIR_ARENA_LIMIT_MB); try again later");
  EXPECT_TRUE(is_let_in("hung")) << "a request with little goes on";
  ASSERT_TRUE(is_let_in_with("other", part));
  ASSERT_TRUE(is_let_in_with("other", part));
  scheduler->cancel(waiting_.back(), Status::Cancelled("gone"));
  waiting_.pop_back();
  EXPECT_TRUE(is_let_in_with("other", part)) << "an answered request gives its memory back";
  scheduler->withdraw(other, "");
  EXPECT_TRUE(is_let_in_with("hung", part)) << "a servable that is alone has all of it";
  scheduler->withdraw(waiting_.front()->method->servable_id, "");
  waiting_.clear();
}

// The limit is taken by the portion; what a servable keeps of it unused is little.
TEST_F(ServableShare, ServablesThatHaveNothingWaitingLeaveNearlyAllOfTheLimit) {
  for (int i = 0; i < 50; ++i) serve("s" + std::to_string(i));
  scheduler->set_max_enqueued_requests(1000);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(is_let_in("s" + std::to_string(i)));
    scheduler->cancel(waiting_.back(), Status::Cancelled("gone"));
  }
  waiting_.clear();
  while (waiting_.size() < 1000 && is_let_in("s" + std::to_string(waiting_.size() % 3))) continue;
  EXPECT_GE(waiting_.size(), 900U) << last_.message();
}

}  // namespace
}  // namespace servoir
