// Listener: listening sockets of one address; accepted connections go to the I/O threads in turn.
//
// When the process has no descriptor left it stops accepting for a moment (the clients wait in the kernel's queue) and
// says so in the log. Belongs to the I/O thread that it was made for; open() may be called on any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"
#include "net/address.h"
#include "net/io_thread.h"

namespace servoir {

// Sockets that listen and are not watched yet.
struct ListeningSockets {
  std::vector<UniqueFd> sockets;  // a host name may have several addresses
  Address bound;                  // with the port that the kernel chose
};
// The Status says what could not be listened on and why.
[[nodiscard]] Result<ListeningSockets> open_listening_sockets(const Address& address);

class Listener {
 public:
  // `accepted` is called in `thread` with each connected socket (non-blocking).
  Listener(IoThread* thread, ListeningSockets sockets, std::function<void(UniqueFd)> accepted);
  ~Listener();  // in `thread`, or when it has stopped; the port is free then, and a Unix socket's file is gone
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // In `thread`.
  void start();
  [[nodiscard]] const Address& address() const { return bound_; }

 private:
  class Acceptor;
  std::vector<std::shared_ptr<Acceptor>> acceptors_;
  const Address bound_;
  ino_t inode_ = 0;  // of the Unix socket's file: another one that has taken its place is left alone
};

}  // namespace servoir
