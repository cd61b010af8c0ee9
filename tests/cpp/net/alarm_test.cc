#include "net/alarm.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <vector>

namespace servoir {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

class AlarmTest : public ::testing::Test {
 protected:
  ~AlarmTest() override { loop_.stop(); }

  EventLoop loop_{0};
  std::promise<void> rang_;
  std::vector<Alarm::Party> called_;  // in the loop
  Alarm alarm_{&loop_, [this](Alarm::Party party) {
                 called_.push_back(party);
                 if (party == 1) rang_.set_value();
               }};
};

// The thread that asks for the later time may be slower than the one that asks for the earlier time.
TEST_F(AlarmTest, ALaterTimeDoesNotReplaceAnEarlierOne) {
  loop_.start();
  const Clock::time_point now = Clock::now();
  loop_.run_and_wait([&] { alarm_.want(1, now + milliseconds(20)); });
  alarm_.want(1, now + hours(1));
  EXPECT_EQ(rang_.get_future().wait_for(seconds(30)), std::future_status::ready);
}

TEST_F(AlarmTest, AnEarlierTimeReplacesALaterOne) {
  loop_.start();
  const Clock::time_point now = Clock::now();
  alarm_.want(1, now + hours(1));
  alarm_.want(1, now + milliseconds(20));
  EXPECT_EQ(rang_.get_future().wait_for(seconds(30)), std::future_status::ready);
}

TEST_F(AlarmTest, ItCanBeSetAgainOnceItHasRung) {
  loop_.start();
  alarm_.want(1, Clock::now() + milliseconds(1));
  ASSERT_EQ(rang_.get_future().wait_for(seconds(30)), std::future_status::ready);
  loop_.run_and_wait([this] { rang_ = std::promise<void>(); });
  alarm_.want(1, Clock::now() + milliseconds(1));
  EXPECT_EQ(rang_.get_future().wait_for(seconds(30)), std::future_status::ready);
}

TEST_F(AlarmTest, ACancelledAlarmDoesNotRing) {
  loop_.start();
  loop_.run_and_wait([this] {
    alarm_.want(1, Clock::now());
    alarm_.cancel();
    alarm_.want(1, Clock::now());
  });
  for (int turn = 0; turn < 3; ++turn) loop_.run_and_wait([] {});
  EXPECT_EQ(rang_.get_future().wait_for(seconds(0)), std::future_status::timeout);
}

TEST_F(AlarmTest, EachPartyHasTimesOfItsOwn) {
  loop_.start();
  loop_.run_and_wait([this] {
    const Clock::time_point now = Clock::now();
    alarm_.want(4, now + hours(1));
    alarm_.want(1, now + milliseconds(20));
    alarm_.want(2, now + milliseconds(10));
    alarm_.want(3, now + hours(1));
    alarm_.want(3, now + milliseconds(1));
  });
  ASSERT_EQ(rang_.get_future().wait_for(seconds(30)), std::future_status::ready);
  loop_.run_and_wait([this] { EXPECT_EQ(called_, (std::vector<Alarm::Party>{3, 2, 1})); });
}

}  // namespace
}  // namespace servoir
