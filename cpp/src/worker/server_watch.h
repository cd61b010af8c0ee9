// ServerWatch: ends this process at once when the server is gone.
//
// A thread of its own waits for the other end of the control socket to close, so that a worker ends however its server
// ended, whatever this process is doing (a function that never returns and holds the interpreter, a long inference).
// It takes nothing from the socket: the messages are for the thread that reads them.
#pragma once

#include <memory>
#include <thread>

#include "base/status.h"
#include "base/unique_fd.h"

namespace servoir {

class ServerWatch {
 public:
  // The descriptor stays the caller's and must stay open.
  static Result<std::unique_ptr<ServerWatch>> start(int control_fd);
  // Ends the watch, not the process.
  ~ServerWatch();
  ServerWatch(const ServerWatch&) = delete;
  ServerWatch& operator=(const ServerWatch&) = delete;

 private:
  ServerWatch() = default;
  UniqueFd end_;
  std::thread thread_;
};

}  // namespace servoir
