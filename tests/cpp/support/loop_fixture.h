// LoopTest: an event loop with its connections, each on one end of a socket pair; the test has the other end. The pair
// is of Unix sockets, or of TCP with connect_tcp().
//
// start() first; then connect() makes a connection in the loop. TearDown() ends all that are left.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include "net/byte_stream.h"
#include "net/connection.h"
#include "net/connection_set.h"
#include "net/event_loop.h"
#include "net/io_buffers.h"
#include "plain_client.h"

namespace servoir {

class LoopTest : public ::testing::Test {
 protected:
  void start(ConnectionTimeouts timeouts = {}) {
    set_ = std::make_unique<ConnectionSet>(&loop_, &buffers_, timeouts);
    loop_.start();
  }

  // `make(set, socket, stream)` returns the connection. What the kernel keeps for each side is kept small, so that a
  // test can have it full soon.
  using Make = std::function<std::shared_ptr<Connection>(ConnectionSet*, UniqueFd, std::unique_ptr<ByteStream>)>;
  PlainClient connect(const Make& make) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return connect(make, ends);
  }
  PlainClient connect_tcp(const Make& make) {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof(address);
    EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), bytes), 0);
    EXPECT_EQ(::listen(listener.get(), 1), 0);
    EXPECT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &bytes), 0);
    const int theirs = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(theirs, reinterpret_cast<sockaddr*>(&address), bytes), 0);
    return connect(make, {::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC), theirs});
  }
  PlainClient connect(const Make& make, const std::array<int, 2>& ends) {
    UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    const int flags = ::fcntl(ours.get(), F_GETFL);
    EXPECT_EQ(::fcntl(ours.get(), F_SETFL, flags | O_NONBLOCK), 0);
    for (const int fd : ends) {
      const int bytes = 65536;
      ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
    loop_.run_and_wait([&] {
      const int fd = ours.get();
      make(set_.get(), std::move(ours), make_plain_stream(fd))->start();
    });
    return PlainClient(std::move(theirs));
  }

  // Looks again, in the loop, until it is so.
  void eventually(const std::function<bool()>& is_so, std::string_view what) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kTestPatienceMs);
    bool so = false;
    while (!so) {
      loop_.run_and_wait([&] { so = is_so(); });
      if (so) return;
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << what;
      std::this_thread::yield();
    }
  }

  void TearDown() override {
    if (!set_) return;
    loop_.run_and_wait([&] { set_->abort_all(); });
    loop_.stop();
    set_->clear();
  }

  IoBuffers buffers_;  // outlive the loop
  EventLoop loop_;
  std::unique_ptr<ConnectionSet> set_;
};

}  // namespace servoir
