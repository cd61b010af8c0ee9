// ByteStream: the one place where bytes pass between a connection and its socket. TLS is another ByteStream; nothing
// above knows the difference.
//
// Non-blocking. Belongs to the connection's I/O thread. Does not own the descriptor.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>

namespace servoir {

struct IoResult {
  enum class State {
    kOk,          // `bytes` were moved, more may be possible now
    kWouldBlock,  // wait for the socket, then call again
    kEnd,         // the peer has ended its side
    kFailed,      // the connection is broken: `error`
  };
  State state = State::kOk;
  std::size_t bytes = 0;
  int error = 0;  // an errno value
  // kWouldBlock of a read that waits until the socket takes something, or of a write that waits until something comes.
  bool other_way = false;
};

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Fills the pieces in their order.
  [[nodiscard]] virtual IoResult read(std::span<const iovec> pieces) = 0;
  [[nodiscard]] virtual IoResult write(std::span<const iovec> pieces) = 0;
  // Whether a read that did not fill its buffer has emptied the socket, so that another read would only cost time.
  [[nodiscard]] virtual bool short_read_is_last() const = 0;
  // Whether it holds input, or an end, that epoll will not report again.
  [[nodiscard]] virtual bool has_input() const { return false; }
  // Tells the peer that nothing more will come, if the socket accepts that without blocking.
  virtual void end_output() = 0;
};

[[nodiscard]] std::unique_ptr<ByteStream> make_plain_stream(int fd);

}  // namespace servoir
