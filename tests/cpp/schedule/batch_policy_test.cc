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
      {"full, lane busy, other lanes are there",
       {4, 4, milliseconds(0), milliseconds(0), 1, false},
       BatchDecision::kHold},
      {"full, lane idle, other lanes are there",
       {4, 4, milliseconds(0), milliseconds(0), 0, false},
       BatchDecision::kClose},
      {"more than full", {9, 4, milliseconds(0), milliseconds(0), 0}, BatchDecision::kClose},
  };
  for (const Row& row : rows) EXPECT_EQ(decide(row.queue), row.expected) << row.what;
}

TEST(BatchPolicy, RowsOfATrip) {
  EXPECT_EQ(rows_of_a_trip(256, 0), 1U) << "nothing is known yet";
  EXPECT_EQ(rows_of_a_trip(256, 1), 256U);
  EXPECT_EQ(rows_of_a_trip(256, 10'000), 100U);
  EXPECT_EQ(rows_of_a_trip(256, 900'000), 1U);
  EXPECT_EQ(rows_of_a_trip(256, 5'000'000'000), 1U);
}

TEST(BatchPolicy, PostingAhead) {
  EXPECT_TRUE(may_post_ahead(1, 64, 0));
  EXPECT_TRUE(may_post_ahead(1, 64, 1'000'000'000)) << "there is no other lane";
  EXPECT_FALSE(may_post_ahead(2, 64, 0)) << "nothing is known yet";
  EXPECT_TRUE(may_post_ahead(2, 64, 10'000));
  EXPECT_FALSE(may_post_ahead(2, 64, 1'000'000));
  EXPECT_FALSE(may_post_ahead(2, 1, 6'000'000));
}

}  // namespace
}  // namespace servoir
