#include "schedule/batch_policy.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

using std::chrono::milliseconds;

struct Row {
  const char* what;
  QueueSnapshot queue;
  BatchDecision expected;
};

TEST(BatchPolicy, Table) {
  const Row rows[] = {
      {"nothing waits", {0, 4, milliseconds(0), milliseconds(0), 0}, BatchDecision::kHold},
      {"one waits, lane idle", {1, 4, milliseconds(0), milliseconds(0), 0}, BatchDecision::kClose},
      {"one waits, lane busy", {1, 4, milliseconds(9), milliseconds(0), 1}, BatchDecision::kHold},
      {"a full batch, lane busy with one", {4, 4, milliseconds(0), milliseconds(0), 1}, BatchDecision::kClose},
      {"a full batch, lane has two", {4, 4, milliseconds(0), milliseconds(0), 2}, BatchDecision::kHold},
      {"delay not over", {3, 4, milliseconds(4), milliseconds(5), 0}, BatchDecision::kDelay},
      {"delay over", {3, 4, milliseconds(5), milliseconds(5), 0}, BatchDecision::kClose},
      {"full before the delay is over", {4, 4, milliseconds(0), milliseconds(5), 0}, BatchDecision::kClose},
      {"delay over, lane busy", {3, 4, milliseconds(9), milliseconds(5), 1}, BatchDecision::kHold},
      {"more than full", {9, 4, milliseconds(0), milliseconds(0), 0}, BatchDecision::kClose},
  };
  for (const Row& row : rows) EXPECT_EQ(decide(row.queue), row.expected) << row.what;
}

}  // namespace
}  // namespace servoir
