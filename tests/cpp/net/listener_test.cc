#include "net/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/plain_client.h"

namespace servoir {
namespace {

ListeningSockets open_or_die(const std::string& address) {
  return open_listening_sockets(parse_address(address).value()).value();
}

UniqueFd connect_to(std::uint16_t port, UniqueFd socket = UniqueFd(::socket(AF_INET, SOCK_STREAM, 0))) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(port);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) socket.reset();
  return socket;
}

class Directory {
 public:
  Directory() { path_ = ::mkdtemp(name_); }
  ~Directory() { ::rmdir(path_.c_str()); }
  [[nodiscard]] std::string operator/(const std::string& file) const { return path_ + "/" + file; }

 private:
  char name_[32] = "/tmp/servoir_listener_XXXXXX";
  std::string path_;
};

TEST(ListeningSocketsTest, GivesAFreePortForZero) {
  const ListeningSockets sockets = open_or_die("127.0.0.1:0");
  ASSERT_EQ(sockets.sockets.size(), 1U);
  EXPECT_NE(sockets.bound.port, 0);
  EXPECT_TRUE(connect_to(sockets.bound.port).valid());
}

TEST(ListeningSocketsTest, RefusesAPortThatIsListenedOn) {
  const ListeningSockets first = open_or_die("127.0.0.1:0");
  const auto second = open_listening_sockets(first.bound);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find("Address already in use"), std::string::npos) << second.status().message();
  EXPECT_NE(second.status().message().find("choose another port"), std::string::npos);
}

TEST(ListeningSocketsTest, TakesAPortAgainThatJustHadConnections) {
  ListeningSockets first = open_or_die("127.0.0.1:0");
  const UniqueFd client = connect_to(first.bound.port);
  const UniqueFd accepted(::accept(first.sockets[0].get(), nullptr, nullptr));
  ASSERT_TRUE(accepted.valid());
  first.sockets.clear();
  EXPECT_TRUE(open_listening_sockets(first.bound).ok());
}

TEST(ListeningSocketsTest, SaysWhatCannotBeListenedOn) {
  for (const char* text : {"127.0.0.0.1:5000", "127.0.256.1:5000", "[::zz]:5000"}) {
    const auto sockets = open_listening_sockets(parse_address(text).value());
    ASSERT_FALSE(sockets.ok()) << text;
    EXPECT_NE(sockets.status().message().find("cannot listen on"), std::string::npos) << sockets.status().message();
  }
  const auto foreign = open_listening_sockets(parse_address("192.0.2.1:5000").value());
  ASSERT_FALSE(foreign.ok());
  EXPECT_NE(foreign.status().message().find("no interface"), std::string::npos) << foreign.status().message();
}

TEST(ListeningSocketsTest, ReplacesAFileAndNeedsItsDirectory) {
  const Directory directory;
  const std::string path = directory / "socket";
  std::ofstream(path) << "old";
  {
    const ListeningSockets sockets = open_or_die("unix:" + path);
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_TRUE(S_ISSOCK(info.st_mode));
    EXPECT_TRUE(open_listening_sockets(sockets.bound).ok());  // a socket is replaced as well
  }
  ::unlink(path.c_str());
  const auto missing = open_listening_sockets(parse_address("unix:" + (directory / "none/socket")).value());
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.status().message().find("does not exist"), std::string::npos) << missing.status().message();
  const auto is_directory = open_listening_sockets(parse_address("unix:" + (directory / ".")).value());
  ASSERT_FALSE(is_directory.ok());
  EXPECT_NE(is_directory.status().message().find("directory"), std::string::npos);
}

class ListenerTest : public testing::Test {
 protected:
  ListenerTest() { loop_.start(); }

  void listen(const std::string& address) {
    loop_.run_and_wait([&] {
      listener_ = std::make_unique<Listener>(&loop_, open_or_die(address),
                                             [this](WatchedFd socket) { accepted_.set_value(std::move(socket)); });
      listener_->start();
    });
  }
  void stop_listening() {
    loop_.run_and_wait([&] { listener_.reset(); });
  }
  ~ListenerTest() override {
    stop_listening();
    loop_.stop();
  }

  EventLoop loop_;
  std::unique_ptr<Listener> listener_;
  std::promise<WatchedFd> accepted_;
};

TEST_F(ListenerTest, FreesItsPort) {
  listen("127.0.0.1:0");
  const Address address = listener_->address();
  stop_listening();
  EXPECT_FALSE(connect_to(address.port).valid());
  EXPECT_TRUE(open_listening_sockets(address).ok());
}

TEST(ListenerDoorTest, AcceptsThoseWhoWaitAndNobodyElse) {
  const Directory directory;
  for (const std::string& where : {std::string("127.0.0.1:0"), "unix:" + (directory / "socket")}) {
    EventLoop loop;  // not started: nothing is accepted by itself
    std::vector<WatchedFd> accepted;
    Listener listener(&loop, open_or_die(where), [&](WatchedFd socket) { accepted.push_back(std::move(socket)); });
    listener.start();
    const std::string address = listener.address().text();
    std::vector<std::unique_ptr<PlainClient>> clients;
    for (int i = 0; i < 200; ++i) clients.push_back(std::make_unique<PlainClient>(address));
    listener.accept_waiting();
    EXPECT_EQ(accepted.size(), 200U);
    PlainClient last(address);
    listener.close_door();
    ASSERT_EQ(accepted.size(), 201U);
    last.send("hello");
    char got = 0;
    EXPECT_EQ(::recv(accepted.back().get(), &got, 1, 0), 1) << "its packets still come";
    if (listener.address().is_unix) {
      EXPECT_FALSE(PlainClient(address).connected());
      continue;
    }
    // The kernel says nothing to a newcomer, so that it tries again.
    const UniqueFd newcomer(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(listener.address().port);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(newcomer.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)), -1);
    EXPECT_EQ(errno, EINPROGRESS);
    pollfd waiting{newcomer.get(), POLLOUT, 0};
    EXPECT_EQ(::poll(&waiting, 1, 50), 0) << "neither connected nor refused";
    listener.accept_waiting();
    EXPECT_EQ(accepted.size(), 201U);
  }
}

TEST_F(ListenerTest, LetsTheKernelLookWhetherPeersLive) {
  listen("127.0.0.1:0");
  const UniqueFd client = connect_to(listener_->address().port);
  const WatchedFd accepted = accepted_.get_future().get();
  const auto option = [&](int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(::getsockopt(accepted.get(), level, name, &value, &size), 0);
    return value;
  };
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 120'000);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
}

TEST_F(ListenerTest, RemovesItsSocketFileButNotAnothers) {
  const Directory directory;
  const std::string path = directory / "socket";
  listen("unix:" + path);
  stop_listening();
  EXPECT_NE(::access(path.c_str(), F_OK), 0);

  listen("unix:" + path);
  const ListeningSockets successor = open_or_die("unix:" + path);
  stop_listening();
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
  ::unlink(path.c_str());
}

TEST_F(ListenerTest, WaitsForDescriptorsAndThenGoesOn) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the undefined-behaviour sanitizer needs descriptors for its checks";
#endif
  listen("127.0.0.1:0");
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit none = old;
  none.rlim_cur = 0;  // what is open stays open
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const UniqueFd client = connect_to(listener_->address().port, std::move(socket));
  ASSERT_TRUE(client.valid());  // in the kernel's queue
  std::future<WatchedFd> accepted = accepted_.get_future();
  // The loop still runs, and has tried: its tasks come after the accept.
  std::promise<void> ran;
  loop_.post([&] { ran.set_value(); });
  ran.get_future().wait();
  EXPECT_EQ(accepted.wait_for(std::chrono::milliseconds(0)), std::future_status::timeout);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  ASSERT_EQ(accepted.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_TRUE(accepted.get().valid());
}

// Clients may not take what the server needs to start a worker again.
TEST_F(ListenerTest, LeavesAReserveOfDescriptors) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the undefined-behaviour sanitizer needs descriptors for its checks";
#endif
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit low = old;
  low.rlim_cur = 512;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  std::atomic<std::size_t> count{0};
  std::vector<WatchedFd> kept;
  loop_.run_and_wait([&] {
    listener_ = std::make_unique<Listener>(&loop_, open_or_die("127.0.0.1:0"), [&](WatchedFd socket) {
      kept.push_back(std::move(socket));
      count = kept.size();
    });
    listener_->start();
  });
  // Clients and server are one process here, so that each connection takes two of the 512.
  std::vector<UniqueFd> clients(240);
  for (UniqueFd& client : clients) client.reset(::socket(AF_INET, SOCK_STREAM, 0));
  for (UniqueFd& client : clients) client = connect_to(listener_->address().port, std::move(client));
  const auto lowest = [] { return UniqueFd(::fcntl(0, F_DUPFD_CLOEXEC, 0)).get(); };
  for (int i = 0; i < 1000 && lowest() < 512 - 64; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  loop_.run_and_wait([] {});
  EXPECT_EQ(lowest(), 512 - 64);
  const std::size_t served = count;
  EXPECT_LT(served, clients.size());
  // It goes on with the others when descriptors are free again.
  loop_.run_and_wait([&] { kept.erase(kept.begin(), kept.begin() + 20); });
  for (int i = 0; i < 1000 && lowest() < 512 - 64; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(lowest(), 512 - 64);
  stop_listening();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
}

}  // namespace
}  // namespace servoir
