// gRPC calls for tests, by nghttp2's client session. Every wait ends after 20 s at the latest and then fails the test.
#pragma once

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plain_client.h"

namespace servoir {

struct GrpcReply {
  bool closed = false;
  std::uint32_t reset = 0;  // HTTP/2 error of the stream
  std::map<std::string, std::string> headers;
  std::map<std::string, std::string> trailers;
  std::string data;

  // The gRPC status; -1 without one.
  [[nodiscard]] int status() const {
    for (const auto* fields : {&trailers, &headers}) {
      if (const auto found = fields->find("grpc-status"); found != fields->end()) return std::stoi(found->second);
    }
    return -1;
  }
  [[nodiscard]] std::string text() const {
    for (const auto* fields : {&trailers, &headers}) {
      if (const auto found = fields->find("grpc-message"); found != fields->end()) return found->second;
    }
    return {};
  }
  // The message without its prefix.
  [[nodiscard]] std::string_view message() const {
    return std::string_view(data).substr(std::min<std::size_t>(5, data.size()));
  }
};

class GrpcClient {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  explicit GrpcClient(const std::string& address, int receive_buffer = 0, bool reads_answers = true)
      : GrpcClient(PlainClient(address, receive_buffer), reads_answers) {}
  explicit GrpcClient(PlainClient socket, bool reads_answers = true) : socket_(std::move(socket)) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frame_bytes);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    if (!reads_answers) nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, 1U << 20U);
    nghttp2_session_client_new2(&session_, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, 0, nullptr, 0);
  }
  ~GrpcClient() { nghttp2_session_del(session_); }
  GrpcClient(const GrpcClient&) = delete;
  GrpcClient& operator=(const GrpcClient&) = delete;

  [[nodiscard]] PlainClient& socket() { return socket_; }

  static std::string framed(std::string_view message, char flag = 0) {
    std::string bytes(1, flag);
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(message.size() >> shift & 0xFFU);
    return bytes.append(message);
  }

  // Starts a call whose DATA is `body`. `extra` replaces or adds headers. With `open` the stream is not ended.
  std::int32_t start(const std::string& path, std::string body, const Headers& extra = {}, bool open = false) {
    std::map<std::string, std::string> fields = {{":method", "POST"},
                                                 {":scheme", "http"},
                                                 {":path", path},
                                                 {":authority", "test"},
                                                 {"content-type", "application/grpc"},
                                                 {"te", "trailers"}};
    for (const auto& [name, value] : extra) fields[name] = value;
    std::vector<nghttp2_nv> list;
    for (const bool pseudo : {true, false}) {
      for (const auto& [name, value] : fields) {
        if ((name[0] == ':') != pseudo) continue;
        list.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                        NGHTTP2_NV_FLAG_NONE});
      }
    }
    auto upload = std::make_unique<Upload>();
    upload->body = std::move(body);
    upload->open = open;
    nghttp2_data_provider provider{};
    provider.source.ptr = upload.get();
    provider.read_callback = read_upload;
    const std::int32_t stream = nghttp2_submit_request(session_, nullptr, list.data(), list.size(), &provider, nullptr);
    EXPECT_GT(stream, 0);
    uploads_[stream] = std::move(upload);
    replies_[stream];
    send_pending();
    return stream;
  }
  // More DATA for a stream that was left open.
  void add(std::int32_t stream, std::string_view bytes, bool end) {
    Upload& upload = *uploads_.at(stream);
    upload.body.append(bytes);
    upload.open = !end;
    nghttp2_session_resume_data(session_, stream);
    send_pending();
  }
  void reset(std::int32_t stream) {
    nghttp2_submit_rst_stream(session_, 0, stream, NGHTTP2_CANCEL);
    send_pending();
  }
  // For a client that does not read by itself: lets so many bytes more come.
  void open_windows(std::int32_t stream, int bytes) {
    nghttp2_submit_window_update(session_, 0, stream, bytes);
    nghttp2_submit_window_update(session_, 0, 0, bytes);
    send_pending();
  }
  // From now on DATA comes in frames of changing sizes, with other frames between them.
  void send_irregularly(std::uint32_t seed) { irregular_ = seed; }
  void ping() { nghttp2_submit_ping(session_, 0, nullptr); }

  // Exchanges bytes with the server until `done`, or the connection ends.
  void run_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kTestPatienceMs);
    while (!done() && !ended_) {
      if (std::chrono::steady_clock::now() > deadline) {
        ADD_FAILURE() << "the server did not answer in time";
        return;
      }
      exchange();
    }
  }
  const GrpcReply& wait(std::int32_t stream) {
    run_until([&] { return replies_[stream].closed; });
    return replies_[stream];
  }
  GrpcReply call(const std::string& path, std::string_view message, const Headers& extra = {}) {
    return wait(start(path, framed(message), extra));
  }
  [[nodiscard]] const GrpcReply& reply(std::int32_t stream) { return replies_[stream]; }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool going_away() const { return !goaways_.empty(); }
  // The last streams that the server's GOAWAYs have named.
  [[nodiscard]] const std::vector<std::int32_t>& goaways() const { return goaways_; }
  [[nodiscard]] int pings_answered() const { return pings_; }
  [[nodiscard]] int pings() const { return asked_; }  // of the server's

  // Sends what fits into the socket now.
  void send_pending() {
    while (true) {
      if (unsent_.empty()) {
        const std::uint8_t* bytes = nullptr;
        const ssize_t n = nghttp2_session_mem_send(session_, &bytes);
        if (n <= 0) return;
        unsent_.assign(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n));
      }
      const ssize_t n = ::send(socket_.fd(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0) return;
      unsent_.erase(0, static_cast<std::size_t>(n));
    }
  }

 private:
  struct Upload {
    std::string body;
    std::size_t sent = 0;
    bool open = false;
  };

  void exchange() {
    send_pending();
    const bool wants_out = !unsent_.empty() || nghttp2_session_want_write(session_) != 0;
    pollfd waiting{socket_.fd(), static_cast<short>(POLLIN | (wants_out ? POLLOUT : 0)), 0};
    ::poll(&waiting, 1, 10);  // not long: what is waited for may be no answer
    if ((waiting.revents & (POLLIN | POLLHUP | POLLERR)) == 0) return;
    char buffer[65536];
    const ssize_t n = ::recv(socket_.fd(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
      ended_ = true;
      return;
    }
    if (n > 0) {
      EXPECT_EQ(
          nghttp2_session_mem_recv(session_, reinterpret_cast<std::uint8_t*>(buffer), static_cast<std::size_t>(n)), n);
    }
  }

  static GrpcClient* self(void* user) { return static_cast<GrpcClient*>(user); }
  static int on_header(nghttp2_session* /*session*/, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_bytes, const std::uint8_t* value, std::size_t value_bytes,
                       std::uint8_t /*flags*/, void* user) {
    GrpcReply& reply = self(user)->replies_[frame->hd.stream_id];
    auto& fields = frame->headers.cat == NGHTTP2_HCAT_RESPONSE ? reply.headers : reply.trailers;
    fields[std::string(reinterpret_cast<const char*>(name), name_bytes)] =
        std::string(reinterpret_cast<const char*>(value), value_bytes);
    return 0;
  }
  static int on_data(nghttp2_session* /*session*/, std::uint8_t /*flags*/, std::int32_t stream,
                     const std::uint8_t* data, std::size_t bytes, void* user) {
    self(user)->replies_[stream].data.append(reinterpret_cast<const char*>(data), bytes);
    return 0;
  }
  static int on_close(nghttp2_session* /*session*/, std::int32_t stream, std::uint32_t error, void* user) {
    GrpcReply& reply = self(user)->replies_[stream];
    reply.closed = true;
    reply.reset = error;
    return 0;
  }
  static int on_frame(nghttp2_session* /*session*/, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type == NGHTTP2_GOAWAY) self(user)->goaways_.push_back(frame->goaway.last_stream_id);
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) ++self(user)->pings_;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) ++self(user)->asked_;
    return 0;
  }
  std::uint32_t random() {
    irregular_ = irregular_ * 1664525U + 1013904223U;
    return irregular_ >> 8U;
  }
  static ssize_t frame_bytes(nghttp2_session* /*session*/, std::uint8_t /*type*/, std::int32_t /*stream*/,
                             std::int32_t connection_window, std::int32_t stream_window, std::uint32_t max_frame,
                             void* user) {
    GrpcClient* client = self(user);
    std::uint32_t bytes = 16384;
    if (client->irregular_ != 0) {
      // Series of one size, so that it is expected, and then another one.
      if (client->random() % 5 == 0)
        client->frame_ = 1 + client->random() % (client->random() % 2 == 0 ? 300'000 : 9000);
      if (client->random() % 7 == 0) client->ping();
      bytes = client->frame_;
    }
    return std::max(
        1, std::min({static_cast<std::int32_t>(std::min(bytes, max_frame)), connection_window, stream_window}));
  }
  static ssize_t read_upload(nghttp2_session* /*session*/, std::int32_t /*stream*/, std::uint8_t* buffer,
                             std::size_t most, std::uint32_t* flags, nghttp2_data_source* source, void* /*user*/) {
    auto* upload = static_cast<Upload*>(source->ptr);
    const std::size_t n = std::min(most, upload->body.size() - upload->sent);
    std::memcpy(buffer, upload->body.data() + upload->sent, n);
    upload->sent += n;
    if (upload->sent == upload->body.size()) {
      if (upload->open) {
        if (n == 0) return NGHTTP2_ERR_DEFERRED;
      } else {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
      }
    }
    return static_cast<ssize_t>(n);
  }

  PlainClient socket_;
  nghttp2_session* session_ = nullptr;
  std::string unsent_;
  std::map<std::int32_t, std::unique_ptr<Upload>> uploads_;
  std::map<std::int32_t, GrpcReply> replies_;
  std::uint32_t irregular_ = 0;  // 0: regular
  std::uint32_t frame_ = 16384;
  bool ended_ = false;
  std::vector<std::int32_t> goaways_;
  int pings_ = 0;
  int asked_ = 0;
};

}  // namespace servoir
