// FdWatch: a file descriptor whose readiness an event loop reports.
//
// Belongs to the loop's thread. Owns the descriptor.
#pragma once

#include <memory>

#include "net/event_loop.h"
#include "net/watched_fds.h"

namespace servoir {

// Receiver of readiness events. Each wait yields exactly one callback, or none if the watch is closed before.
class FdEvents {
 public:
  virtual ~FdEvents() = default;
  virtual void on_readable() = 0;
  virtual void on_writable() {}
  // The descriptor is broken, or its peer has closed it altogether.
  virtual void on_hangup() {}
};

class FdWatch {
 public:
  FdWatch(EventLoop* loop, WatchedFd fd);
  ~FdWatch();  // as close()
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  // The target is kept alive until it has been called, or until close().
  void wait_readable(std::shared_ptr<FdEvents> target);
  void wait_writable(std::shared_ptr<FdEvents> target);
  // Not for the end of a peer's output, which is input.
  void wait_hangup(std::shared_ptr<FdEvents> target);
  // Ends all waits without a callback, and closes the descriptor. A socket is shut down first, so that it ends even
  // where another process holds a copy. Forked children do not, see watched_fds.h.
  void close();
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  struct Impl;
  WatchedFd fd_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
