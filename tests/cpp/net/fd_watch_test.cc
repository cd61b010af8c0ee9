#include "net/fd_watch.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <chrono>
#include <future>
#include <memory>

namespace servoir {
namespace {

constexpr std::chrono::seconds kPatience{20};

class Readable final : public FdEvents {
 public:
  void on_readable() override { read.set_value(); }
  void on_hangup() override { hung_up.set_value(); }
  std::promise<void> read;
  std::promise<void> hung_up;
};

TEST(FdWatchTest, TellsOnceAWaitWhetherTheDescriptorIsReadable) {
  EventLoop loop;
  loop.start();
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::unique_ptr<FdWatch> watch;
  const auto first = std::make_shared<Readable>();
  loop.run_and_wait([&] {
    watch = std::make_unique<FdWatch>(&loop, UniqueFd(fd));
    watch->wait_readable(first);
  });
  ASSERT_EQ(::eventfd_write(fd, 1), 0);
  EXPECT_EQ(first->read.get_future().wait_for(kPatience), std::future_status::ready);
  const auto second = std::make_shared<Readable>();
  loop.run_and_wait([&] { watch->wait_readable(second); });  // it is still readable
  EXPECT_EQ(second->read.get_future().wait_for(kPatience), std::future_status::ready);
  auto third = std::make_shared<Readable>();
  const std::weak_ptr<Readable> is_held = third;
  eventfd_t count = 0;
  ASSERT_EQ(::eventfd_read(fd, &count), 0);
  loop.run_and_wait([&] {
    watch->wait_readable(std::move(third));
    EXPECT_FALSE(is_held.expired());
    watch->close();
    watch->close();
  });
  loop.run_and_wait([&] { watch.reset(); });
  loop.run_and_wait([] {});  // the ended wait is let go of in a turn of its own
  EXPECT_TRUE(is_held.expired());
}

TEST(FdWatchTest, TheEndOfAPeersOutputIsNoHangup) {
  EventLoop loop;
  loop.start();
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
  UniqueFd theirs(ends[1]);
  std::unique_ptr<FdWatch> watch;
  const auto waiting = std::make_shared<Readable>();
  auto hung_up = waiting->hung_up.get_future();
  loop.run_and_wait([&] {
    watch = std::make_unique<FdWatch>(&loop, UniqueFd(ends[0]));
    watch->wait_hangup(waiting);
    watch->wait_readable(waiting);
  });
  ASSERT_EQ(::shutdown(theirs.get(), SHUT_WR), 0);
  ASSERT_EQ(waiting->read.get_future().wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(hung_up.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  theirs.reset();
  EXPECT_EQ(hung_up.wait_for(kPatience), std::future_status::ready);
  loop.run_and_wait([&] { watch.reset(); });
}

}  // namespace
}  // namespace servoir
