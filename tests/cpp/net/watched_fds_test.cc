#include "net/watched_fds.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>

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
  WatchedFd watched(UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
  const int number = watched.get();
  const int other = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_TRUE(in_child([&] { return !is_open(number) && is_open(other); }));
  EXPECT_TRUE(is_open(number));
  watched.close();
  EXPECT_FALSE(is_open(number));
  // The number is somebody else's now.
  const int again = ::fcntl(other, F_DUPFD_CLOEXEC, number);
  EXPECT_EQ(again, number);
  EXPECT_TRUE(in_child([&] { return is_open(again); }));
  ::close(again);
  ::close(other);
}

TEST(WatchedFds, AChildsOwnAreItsOwnChildrens) {
  const WatchedFd watched(UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
  EXPECT_TRUE(in_child([&] {
    const int own = ::open("/dev/null", O_RDONLY | O_CLOEXEC);  // has the number of the one that was closed
    return own == watched.get() && in_child([&] { return is_open(own); });
  }));
}

TEST(WatchedFds, SocketsAreSoFromTheirBeginning) {
  const WatchedFd listening = WatchedFd::socket(AF_INET, IPPROTO_TCP);
  ASSERT_TRUE(listening.valid());
  EXPECT_FALSE(WatchedFd::accept(listening.get()).valid());  // nothing listens
  EXPECT_EQ(errno, EINVAL);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  ASSERT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&name), size), 0);
  ASSERT_EQ(::listen(listening.get(), 1), 0);
  ASSERT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&name), size), 0);
  const WatchedFd accepted = WatchedFd::accept(listening.get());
  ASSERT_TRUE(accepted.valid());
  EXPECT_TRUE(in_child([&] { return !is_open(listening.get()) && !is_open(accepted.get()) && is_open(client.get()); }));
}

// A child is made again and again while another thread accepts, hands on and closes: it never has any of them.
TEST(WatchedFds, NoForkComesBetweenACallAndTheList) {
  std::atomic<bool> done = false;
  const int first = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get();  // the lowest number that is free
  std::thread other([&] {
    while (!done) {
      WatchedFd made = WatchedFd::socket(AF_INET, IPPROTO_TCP);
      const WatchedFd handed_on = std::move(made);
    }
  });
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(in_child([&] { return !is_open(first); }));
  done = true;
  other.join();
}

}  // namespace
}  // namespace servoir
