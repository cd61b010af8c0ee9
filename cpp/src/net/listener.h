// Listener: the listening sockets of one address; it hands each accepted connection to its owner.
//
// When the process has hardly any descriptor left, or its owner wants no more connections, it stops accepting for a
// moment (the clients wait in the kernel's queue) and says so in the log: the last 64, or a quarter of a low limit, are
// left for what the server itself opens. Belongs to the thread of its loop; open_listening_sockets() may be called on
// any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "net/address.h"
#include "net/event_loop.h"
#include "net/watched_fds.h"

namespace servoir {

// Sockets that listen and are not watched yet.
struct ListeningSockets {
  std::vector<WatchedFd> sockets;  // a host name may have several addresses
  Address bound;                   // with the port that the kernel chose
};
// The Status says what could not be listened on and why.
[[nodiscard]] Result<ListeningSockets> open_listening_sockets(const Address& address);

class Listener {
 public:
  // `accepted` is called in the loop with each connected socket (non-blocking). `refusal`, where it is given, says why
  // no connection may be accepted now; an empty text: it may.
  Listener(EventLoop* loop, ListeningSockets sockets, std::function<void(WatchedFd)> accepted,
           const std::function<std::string()>& refusal = {});
  ~Listener();  // in the loop, or when it has stopped; the port is free then, and a Unix socket's file is gone
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // The rest in the loop.
  void start();
  // Accepts what waits in the kernel's queue now.
  void accept_waiting();
  // Nobody can connect any more, and what waits is accepted. It would be reset if the socket was closed. A client that
  // comes now is refused when the listener is gone.
  void close_door();
  [[nodiscard]] const Address& address() const { return bound_; }

 private:
  class Acceptor;
  void remove_file();
  std::vector<std::shared_ptr<Acceptor>> acceptors_;
  const Address bound_;
  ino_t inode_ = 0;  // of the Unix socket's file: a file that has replaced it is left alone
};

}  // namespace servoir
