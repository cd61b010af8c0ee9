#include "net/watched_fds.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace servoir {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

// Whether `holds` holds in a child.
template <class Condition>
bool in_child(const Condition& holds) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(holds() ? 0 : 1);
  int status = 0;
  return pid > 0 && ::waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(WatchedFds, AChildHasNoneOfThem) {
  const int watched = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int other = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  add_watched_fd(watched);
  EXPECT_TRUE(in_child([&] { return !is_open(watched) && is_open(other); }));
  EXPECT_TRUE(is_open(watched));
  close_watched_fd(watched);
  EXPECT_FALSE(is_open(watched));
  // The number is somebody else's now.
  const int again = ::fcntl(other, F_DUPFD_CLOEXEC, watched);
  EXPECT_EQ(again, watched);
  EXPECT_TRUE(in_child([&] { return is_open(again); }));
  ::close(again);
  ::close(other);
}

TEST(WatchedFds, AChildsOwnAreItsOwnChildrens) {
  const int watched = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  add_watched_fd(watched);
  EXPECT_TRUE(in_child([&] {
    const int own = ::open("/dev/null", O_RDONLY | O_CLOEXEC);  // has the number of the one that was closed
    return own == watched && in_child([&] { return is_open(own); });
  }));
  close_watched_fd(watched);
}

}  // namespace
}  // namespace servoir
