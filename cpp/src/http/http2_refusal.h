// Http2Refusal: the server's side of a connection on which a client speaks HTTP/2 to a port that does not.
//
// An answer in HTTP/1.1 would not help: clients show nothing of its text. So each request is answered in the client's
// own protocol, for gRPC with its kind of status, and the connection ends when that has been sent. Belongs to one
// connection.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

#include "http/exchange.h"
#include "net/output_queue.h"

namespace servoir::http {

class Http2Refusal {
 public:
  // Whether a connection that sends this, which was no HTTP/1.1 request, begins as one of HTTP/2.
  [[nodiscard]] static bool is_for(std::span<const std::byte> bytes);

  explicit Http2Refusal(const ErrorWriter& errors);
  ~Http2Refusal();
  Http2Refusal(const Http2Refusal&) = delete;
  Http2Refusal& operator=(const Http2Refusal&) = delete;

  // Takes what the client has sent, its preface first, and adds what is to be sent to `out`. False: after that the
  // connection is over.
  [[nodiscard]] bool read(std::span<const std::byte> bytes, OutputQueue* out);

 private:
  struct Request {
    bool is_grpc = false;
    bool answered = false;
    std::size_t sent = 0;  // of the body
  };
  struct Callbacks;
  void answer(std::int32_t stream);

  std::string body_;
  const std::string content_type_;
  nghttp2_session* session_ = nullptr;
  bool answered_ = false;
  bool said_goodbye_ = false;
  std::unordered_map<std::int32_t, Request> requests_;
};

}  // namespace servoir::http
