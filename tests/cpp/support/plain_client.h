// A client for tests that sends and receives bytes. Every wait ends after 20 s at the latest and then fails the test.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/unique_fd.h"
#include "net/address.h"

namespace servoir {

inline constexpr int kTestPatienceMs = 20'000;

class PlainClient {
 public:
  // `receive_buffer`: of the kernel, so that a test can have it full soon; 0: its own choice.
  explicit PlainClient(const std::string& address, int receive_buffer = 0) {
    const Address parsed = parse_address(address).value();
    socket_ = UniqueFd(::socket(parsed.is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer > 0) {
      ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in tcp{};
    sockaddr_un local{};
    if (parsed.is_unix) {
      local.sun_family = AF_UNIX;
      std::memcpy(local.sun_path, parsed.path.data(), parsed.path.size());
      connected_ = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&local), sizeof(local)) == 0;
    } else {
      tcp.sin_family = AF_INET;
      tcp.sin_port = htons(parsed.port);
      ::inet_pton(AF_INET, parsed.host.c_str(), &tcp.sin_addr);
      connected_ = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&tcp), sizeof(tcp)) == 0;
      const int on = 1;
      ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
  }

  // One end of a socket pair.
  explicit PlainClient(UniqueFd socket) : socket_(std::move(socket)), connected_(socket_.valid()) {}

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] int fd() const { return socket_.get(); }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;  // the server has ended the connection: what it said is to be read
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  // Some bytes; empty at the end of the connection.
  std::string receive() {
    pollfd waiting{socket_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kTestPatienceMs) != 1) {
      ADD_FAILURE() << "nothing came from the server";
      return {};
    }
    std::string bytes(65536, '\0');
    const ssize_t n = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return bytes;
  }
  std::string receive_until_end() {
    std::string all;
    while (true) {
      const std::string bytes = receive();
      if (bytes.empty()) return all;
      all += bytes;
    }
  }
  void end() { ::shutdown(socket_.get(), SHUT_WR); }
  void close() { socket_.reset(); }
  // Ends with a reset instead of an orderly end.
  void abort() {
    const linger now{1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    socket_.reset();
  }

 private:
  UniqueFd socket_;
  bool connected_ = false;
};

}  // namespace servoir
