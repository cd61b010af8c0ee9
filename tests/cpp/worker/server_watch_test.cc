#include "worker/server_watch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

namespace servoir {
namespace {

struct Pair {
  Pair() {
    std::array<int, 2> fds{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds.data()), 0);
    mine = UniqueFd(fds[0]);
    theirs = UniqueFd(fds[1]);
  }
  UniqueFd mine;
  UniqueFd theirs;
};

TEST(ServerWatchTest, EndsTheProcessWhenTheOtherEndCloses) {
  Pair sockets;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    sockets.mine.reset();
    auto watch = ServerWatch::start(sockets.theirs.get());
    while (watch.ok()) ::pause();  // whatever this thread does
    ::_exit(7);
  }
  sockets.theirs.reset();
  // A message must not end it, and is not taken either.
  ASSERT_EQ(::write(sockets.mine.get(), "x", 1), 1);
  sockets.mine.reset();
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ServerWatchTest, LeavesMessagesAlone) {
  Pair sockets;
  auto watch = ServerWatch::start(sockets.theirs.get());
  ASSERT_TRUE(watch.ok());
  ASSERT_EQ(::write(sockets.mine.get(), "x", 1), 1);
  char got = 0;
  EXPECT_EQ(::read(sockets.theirs.get(), &got, 1), 1);
  EXPECT_EQ(got, 'x');
}

TEST(ServerWatchTest, RefusesWhatIsNoDescriptor) { EXPECT_FALSE(ServerWatch::start(-1).ok()); }

}  // namespace
}  // namespace servoir
