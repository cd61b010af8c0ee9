#include "net/byte_stream.h"

#include <sys/socket.h>

#include <cerrno>

namespace servoir {
namespace {

IoResult failure(int error) {
  if (error == EAGAIN || error == EWOULDBLOCK) return {IoResult::State::kWouldBlock, 0, 0};
  return {IoResult::State::kFailed, 0, error};
}

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(int fd) : fd_(fd) {}

  IoResult read(std::span<const iovec> pieces) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());  // recvmsg does not write to it
    message.msg_iovlen = pieces.size();
    for (;;) {
      const ssize_t n = pieces.size() == 1 ? ::recv(fd_, pieces[0].iov_base, pieces[0].iov_len, MSG_DONTWAIT)
                                           : ::recvmsg(fd_, &message, MSG_DONTWAIT);
      if (n > 0) return {IoResult::State::kOk, static_cast<std::size_t>(n), 0};
      if (n == 0) return {IoResult::State::kEnd, 0, 0};
      if (errno != EINTR) return failure(errno);
    }
  }

  IoResult write(std::span<const iovec> pieces) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());  // sendmsg does not write to it
    message.msg_iovlen = pieces.size();
    for (;;) {
      const ssize_t n = ::sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n >= 0) return {IoResult::State::kOk, static_cast<std::size_t>(n), 0};
      if (errno != EINTR) return failure(errno);
    }
  }

  bool short_read_is_last() const override { return true; }
  void end_output() override { ::shutdown(fd_, SHUT_WR); }

 private:
  int fd_;
};

}  // namespace

std::unique_ptr<ByteStream> make_plain_stream(int fd) { return std::make_unique<PlainStream>(fd); }

}  // namespace servoir
