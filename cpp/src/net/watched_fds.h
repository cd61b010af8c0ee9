// The descriptors that event loops of this process watch: listening sockets, connections, wake-ups.
//
// A forked child has copies of them and no use for any: a copy of a listening socket keeps the port taken when the
// server has ended, and a copy of a connection keeps its end from the client. So each child of fork() closes its copies
// before anything else of it runs, and forgets the list. Any thread may call; no fork happens during a call.
#pragma once

#include <utility>

#include "base/unique_fd.h"

namespace servoir {

// Owns one descriptor that is on the list for as long as it is open.
class WatchedFd {
 public:
  WatchedFd() = default;
  WatchedFd(UniqueFd fd);  // NOLINT(google-explicit-constructor): whoever wants one may be given any other
  // What the system calls of these names give, on the list before a fork can come between; not valid: see errno.
  static WatchedFd accept(int listening);
  static WatchedFd socket(int family, int protocol);

  WatchedFd(WatchedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  WatchedFd& operator=(WatchedFd&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  WatchedFd(const WatchedFd&) = delete;
  WatchedFd& operator=(const WatchedFd&) = delete;
  ~WatchedFd() { close(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  void close();

 private:
  template <class Open>
  static WatchedFd opened(const Open& open);

  int fd_ = -1;
};

}  // namespace servoir
