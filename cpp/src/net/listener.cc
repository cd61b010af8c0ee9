#include "net/listener.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "net/fd_watch.h"
#include "net/timer.h"

namespace servoir {
namespace {

constexpr int kBacklog = 4096;
constexpr int kAcceptsInOneGo = 64;
constexpr std::chrono::milliseconds kPause{100};
constexpr std::chrono::seconds kLogEvery{10};
// A peer that has lost its network or its power says nothing about it. A silent one is asked by TCP after a minute, and
// given up when it has not answered, or has not taken what was sent, for so long.
constexpr int kSilentSeconds = 60;
constexpr int kAskAgainSeconds = 15;
constexpr int kDeadMilliseconds = 120'000;
// Descriptors that clients may not have: a worker that has to be started again needs some.
constexpr rlim_t kReserve = 64;

Status cannot_listen(const Address& address, std::string_view why) {
  return Status::InvalidArgument("cannot listen on '" + address.text() + "': " + std::string(why));
}

Status cannot_listen(const Address& address, int error) {
  std::string why = std::generic_category().message(error);
  if (error == EADDRINUSE) why += ": another server, or another listener of this one, has it; choose another port";
  if (error == EACCES) why += ": ports below 1024 and foreign directories need rights that this process does not have";
  if (error == EADDRNOTAVAIL) why += ": no interface of this machine has this address";
  return cannot_listen(address, why);
}

Result<ListeningSockets> open_unix(const Address& address) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, address.path.data(), address.path.size());  // parse_address checked the length
  struct stat existing {};
  if (::lstat(address.path.c_str(), &existing) == 0) {
    if (S_ISDIR(existing.st_mode)) return cannot_listen(address, "there is a directory of this name");
    if (::unlink(address.path.c_str()) != 0) {
      return cannot_listen(address, "the existing file cannot be replaced: " + std::generic_category().message(errno));
    }
  }
  WatchedFd socket = WatchedFd::socket(AF_UNIX, 0);
  if (!socket.valid()) return cannot_listen(address, errno);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) {
    if (errno == ENOENT) return cannot_listen(address, "the socket's directory does not exist; create it first");
    return cannot_listen(address, errno);
  }
  if (::listen(socket.get(), kBacklog) != 0) return cannot_listen(address, errno);
  ListeningSockets result;
  result.sockets.push_back(std::move(socket));
  result.bound = address;
  return result;
}

// A name of digits and dots is meant as an address; asking a name server about it would take time and make no sense.
bool looks_numeric(std::string_view host) { return host.find_first_not_of("0123456789.") == std::string_view::npos; }

// Accepted sockets inherit the options of the one that listens.
void set_options_of_connections(int fd) {
  const auto set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof(value)); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kSilentSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kAskAgainSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kDeadMilliseconds / 1000 / kAskAgainSeconds);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, kDeadMilliseconds);
}

// Returns 0 or an errno value.
int open_tcp(const addrinfo& info, std::uint16_t port, WatchedFd* listening) {
  WatchedFd socket = WatchedFd::socket(info.ai_family, IPPROTO_TCP);
  if (!socket.valid()) return errno;
  const int on = 1;
  // Lets a restart have the port while old connections linger; two that listen still exclude each other.
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // An IPv6 wildcard would otherwise take the IPv4 port of another server as well.
  if (info.ai_family == AF_INET6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  set_options_of_connections(socket.get());
  sockaddr_storage name{};
  std::memcpy(&name, info.ai_addr, info.ai_addrlen);
  if (info.ai_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(name).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(name).sin_port = htons(port);
  }
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), info.ai_addrlen) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return errno;
  }
  *listening = std::move(socket);
  return 0;
}

std::uint16_t bound_port(int fd) {
  sockaddr_storage name{};
  socklen_t size = sizeof(name);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return 0;
  return ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(name).sin6_port
                                          : reinterpret_cast<const sockaddr_in&>(name).sin_port);
}

}  // namespace

Result<ListeningSockets> open_listening_sockets(const Address& address) {
  if (address.is_unix) return open_unix(address);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  if (looks_numeric(address.host) || address.host.find(':') != std::string::npos) hints.ai_flags |= AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(address.host.c_str(), nullptr, &hints, &found); error != 0) {
    return cannot_listen(
        address, "'" + address.host + "' is not an address or name of this machine (" + ::gai_strerror(error) + ")");
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, ::freeaddrinfo);

  ListeningSockets result;
  result.bound = address;
  int first_error = 0;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    if (info->ai_family != AF_INET && info->ai_family != AF_INET6) continue;
    WatchedFd socket;
    const int error = open_tcp(*info, result.bound.port, &socket);
    if (error == 0) {
      if (result.bound.port == 0) result.bound.port = bound_port(socket.get());
      result.sockets.push_back(std::move(socket));
      continue;
    }
    // An address of the name that this machine does not have (::1 without IPv6) is no reason to give up.
    if (error != EADDRNOTAVAIL && error != EAFNOSUPPORT) return cannot_listen(address, error);
    if (first_error == 0) first_error = error;
  }
  if (result.sockets.empty()) return cannot_listen(address, first_error == 0 ? EADDRNOTAVAIL : first_error);
  return result;
}

// 0, or an errno value that says why no client should be given a descriptor now.
int room_for_a_client(int any_fd) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return errno;
  // The kernel gives the lowest number that is free, so it tells how many are taken at least.
  const UniqueFd lowest(::fcntl(any_fd, F_DUPFD_CLOEXEC, 0));
  if (!lowest.valid()) return errno == EINVAL ? EMFILE : errno;  // EINVAL: the limit is 0
  const rlim_t reserve = std::min(kReserve, limit.rlim_cur / 4);
  return static_cast<rlim_t>(lowest.get()) < limit.rlim_cur - reserve ? 0 : EMFILE;
}

// The kernel drops what would open another connection to this socket; TCP asks again after a second. Handshakes that
// have begun go on. Where the kernel cannot do this, a client that comes in the last moment is reset.
void refuse_newcomers(int fd) {
  // A filter of a TCP socket sees the header from its beginning, where the flags are in byte 13.
  constexpr unsigned kSyn = 0x02;
  constexpr unsigned kSynOrAck = 0x12;
  sock_filter program[] = {
      {BPF_LD | BPF_B | BPF_ABS, 0, 0, 13},    {BPF_ALU | BPF_AND | BPF_K, 0, 0, kSynOrAck},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, kSyn}, {BPF_RET | BPF_K, 0, 0, 0},
      {BPF_RET | BPF_K, 0, 0, 0xffffffffU},
  };
  const sock_fprog filter{std::size(program), program};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0) {
    SERVOIR_DEBUG("newcomers cannot be kept away: " + std::generic_category().message(errno));
  }
}

class Listener::Acceptor final : public FdEvents, public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(EventLoop* loop, WatchedFd socket, std::function<void(WatchedFd)> accepted,
           std::function<std::string()> refusal)
      : watch_(loop, std::move(socket)),
        accepted_(std::move(accepted)),
        refusal_(std::move(refusal)),
        retry_(loop, [this] { watch_.wait_readable(shared_from_this()); }) {}

  void start() { watch_.wait_readable(shared_from_this()); }

  void close() {
    retry_.cancel();
    watch_.close();
  }

  [[nodiscard]] int fd() const { return watch_.fd(); }

  void on_readable() override {
    if (const std::string why = accept(kAcceptsInOneGo); !why.empty()) {
      pause(why);
    } else {
      watch_.wait_readable(shared_from_this());
    }
  }

  // Accepts so many at most. Returns why no more can be accepted for the moment, or nothing.
  std::string accept(int most) {
    for (int i = 0; i < most; ++i) {
      if (const int error = room_for_a_client(watch_.fd()); error != 0) return describe(error);
      if (std::string why = refusal_ ? refusal_() : std::string(); !why.empty()) return why;
      WatchedFd socket = WatchedFd::accept(watch_.fd());
      if (socket.valid()) {
        accepted_(std::move(socket));
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno != EINTR && errno != ECONNABORTED) return describe(errno);
    }
    return {};
  }

 private:
  static std::string describe(int error) {
    return std::generic_category().message(error) + ". More connections need a higher limit of open files (ulimit -n)";
  }
  void pause(const std::string& why) {
    const Clock::time_point now = Clock::now();
    if (now - last_log_ >= kLogEvery) {
      last_log_ = now;
      SERVOIR_WARNING("cannot accept a connection for the moment: " + why);
    } else {
      log_count_left_out();
    }
    retry_.set(now + kPause);
  }

  FdWatch watch_;
  const std::function<void(WatchedFd)> accepted_;
  const std::function<std::string()> refusal_;
  Timer retry_;
  Clock::time_point last_log_{};
};

Listener::Listener(EventLoop* loop, ListeningSockets sockets, std::function<void(WatchedFd)> accepted,
                   const std::function<std::string()>& refusal)
    : bound_(std::move(sockets.bound)) {
  for (WatchedFd& socket : sockets.sockets) {
    acceptors_.push_back(std::make_shared<Acceptor>(loop, std::move(socket), accepted, refusal));
  }
  struct stat file {};
  if (bound_.is_unix && ::lstat(bound_.path.c_str(), &file) == 0) inode_ = file.st_ino;
}

Listener::~Listener() {
  for (const auto& acceptor : acceptors_) acceptor->close();
  remove_file();
}

void Listener::remove_file() {
  struct stat file {};
  if (bound_.is_unix && ::lstat(bound_.path.c_str(), &file) == 0 && file.st_ino == inode_) {
    ::unlink(bound_.path.c_str());
  }
}

void Listener::accept_waiting() {
  // What cannot be accepted now may be so later: the acceptor tries it again.
  for (const auto& acceptor : acceptors_) (void)acceptor->accept(kBacklog);
}

void Listener::close_door() {
  if (bound_.is_unix) {
    remove_file();
  } else {
    for (const auto& acceptor : acceptors_) refuse_newcomers(acceptor->fd());
  }
  accept_waiting();
}

void Listener::start() {
  for (const auto& acceptor : acceptors_) acceptor->start();
}

}  // namespace servoir
