#include "worker/server_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>

namespace servoir {
namespace {

void watch(int control_fd, int end_fd) {
  // Without POLLIN, so that messages do not wake this thread.
  std::array<pollfd, 2> watched{pollfd{control_fd, POLLRDHUP, 0}, pollfd{end_fd, POLLIN, 0}};
  while (true) {
    const int ready = ::poll(watched.data(), watched.size(), -1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0 || (watched[1].revents & POLLIN) != 0) return;
    if (watched[0].revents != 0) ::_exit(0);
  }
}

}  // namespace

Result<std::unique_ptr<ServerWatch>> ServerWatch::start(int control_fd) {
  if (::fcntl(control_fd, F_GETFD) < 0)
    return Status::FromErrno("the control socket " + std::to_string(control_fd), errno);
  std::unique_ptr<ServerWatch> made(new ServerWatch());  // NOLINT: the constructor is private
  made->end_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!made->end_.valid()) return Status::FromErrno("eventfd", errno);
  // Signals are for the main thread, which runs their handlers.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  made->thread_ = std::thread(watch, control_fd, made->end_.get());
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return made;
}

ServerWatch::~ServerWatch() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  if (::write(end_.get(), &one, sizeof(one)) == sizeof(one)) thread_.join();
}

}  // namespace servoir
