// A bare gRPC echo server on nghttp2, as the measure of what HTTP/2 alone costs: one thread, epoll, no TLS. It answers
// each request with the message that came, OK, and looks at nothing.
//
//   echo        listens on a free port of loopback, prints "127.0.0.1:PORT", and serves until it is killed
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

namespace {

nghttp2_nv field(const char* name, const char* value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name)),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value)), std::strlen(name), std::strlen(value),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

struct Message {
  std::string bytes;
  std::size_t sent = 0;
};

struct Connection {
  explicit Connection(int its_fd) : fd(its_fd) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    nghttp2_session_del(session);
    ::close(fd);
  }

  const int fd;
  nghttp2_session* session = nullptr;
  std::map<std::int32_t, Message> messages;  // of the streams
  std::string output;
};

ssize_t read_answer(nghttp2_session* session, std::int32_t stream, std::uint8_t* to, std::size_t most,
                    std::uint32_t* flags, nghttp2_data_source* source, void* /*user*/) {
  auto* message = static_cast<Message*>(source->ptr);
  const std::size_t n = std::min(most, message->bytes.size() - message->sent);
  std::memcpy(to, message->bytes.data() + message->sent, n);
  message->sent += n;
  if (message->sent == message->bytes.size()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const nghttp2_nv trailer = field("grpc-status", "0");
    nghttp2_submit_trailer(session, stream, &trailer, 1);
  }
  return static_cast<ssize_t>(n);
}

int on_data(nghttp2_session* /*session*/, std::uint8_t /*flags*/, std::int32_t stream, const std::uint8_t* bytes,
            std::size_t count, void* user) {
  static_cast<Connection*>(user)->messages[stream].bytes.append(reinterpret_cast<const char*>(bytes), count);
  return 0;
}

int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  if (frame->hd.type != NGHTTP2_DATA || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  nghttp2_data_provider body{};
  body.source.ptr = &static_cast<Connection*>(user)->messages[frame->hd.stream_id];
  body.read_callback = read_answer;
  const nghttp2_nv head[] = {field(":status", "200"), field("content-type", "application/grpc")};
  return nghttp2_submit_response(session, frame->hd.stream_id, head, 2, &body);
}

int on_close(nghttp2_session* /*session*/, std::int32_t stream, std::uint32_t /*error*/, void* user) {
  static_cast<Connection*>(user)->messages.erase(stream);
  return 0;
}

// False at the end of the connection.
bool serve(Connection* connection) {
  static std::uint8_t input[256 * 1024];
  const ssize_t n = ::recv(connection->fd, input, sizeof(input), 0);
  if (n <= 0 || nghttp2_session_mem_recv(connection->session, input, static_cast<std::size_t>(n)) != n) return false;
  connection->output.clear();
  const std::uint8_t* piece = nullptr;
  for (ssize_t size = 0; (size = nghttp2_session_mem_send(connection->session, &piece)) > 0;) {
    connection->output.append(reinterpret_cast<const char*>(piece), static_cast<std::size_t>(size));
  }
  // Blocks if the client does not read, which a load generator does.
  for (std::size_t sent = 0; sent < connection->output.size();) {
    const ssize_t now =
        ::send(connection->fd, connection->output.data() + sent, connection->output.size() - sent, MSG_NOSIGNAL);
    if (now <= 0) return false;
    sent += static_cast<std::size_t>(now);
  }
  return true;
}

}  // namespace

int main() {
  const int listening = ::socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  ::setsockopt(listening, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  if (::bind(listening, reinterpret_cast<sockaddr*>(&name), size) != 0 || ::listen(listening, 64) != 0 ||
      ::getsockname(listening, reinterpret_cast<sockaddr*>(&name), &size) != 0) {
    std::perror("echo");
    return 1;
  }
  std::printf("127.0.0.1:%d\n", ntohs(name.sin_port));
  std::fflush(stdout);

  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);

  const int poll = ::epoll_create1(0);
  epoll_event wanted{.events = EPOLLIN, .data = {.ptr = nullptr}};
  ::epoll_ctl(poll, EPOLL_CTL_ADD, listening, &wanted);
  while (true) {
    epoll_event ready[64];
    const int count = ::epoll_wait(poll, ready, 64, -1);
    for (int i = 0; i < count; ++i) {
      auto* connection = static_cast<Connection*>(ready[i].data.ptr);
      if (connection != nullptr) {
        if (!serve(connection)) delete connection;
        continue;
      }
      connection = new Connection(::accept(listening, nullptr, nullptr));
      nghttp2_session_server_new(&connection->session, callbacks, connection);
      nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, nullptr, 0);
      wanted.data.ptr = connection;
      ::epoll_ctl(poll, EPOLL_CTL_ADD, connection->fd, &wanted);
    }
  }
}
