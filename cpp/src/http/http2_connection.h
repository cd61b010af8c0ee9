// Http2Connection: HTTP/2 by prior knowledge, with one Stream for each request.
//
// nghttp2 keeps the protocol's state and turns bytes into callbacks; frames that it makes go into the connection's
// output, DATA without passing through nghttp2's buffers. What a client may occupy is bounded: streams, header bytes,
// frames that ask for an answer, resets, and the answers that it does not read.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "http/http2_placing.h"
#include "http/stream.h"
#include "net/connection.h"

namespace servoir::http {

// What the connections of an HTTP/2 listener share; outlives them.
struct Http2Context {
  std::shared_ptr<const StreamFactory> streams;
  std::string wrong_protocol;  // what a client is told that speaks HTTP/1: which protocol this port is for
};

class Http2Connection final : public Connection, private StreamHost, private Http2Input {
 public:
  static constexpr std::uint32_t kMaxStreams = 1024;

  Http2Connection(ConnectionSet* set, WatchedFd socket, std::unique_ptr<ByteStream> bytes, std::uint32_t listener,
                  std::shared_ptr<const Http2Context> context);
  ~Http2Connection() override;

 protected:
  void on_input(std::span<const std::byte> bytes) override;
  std::size_t next_destinations(std::span<iovec> places) override;
  void on_received(std::span<const iovec> pieces) override;
  void on_flush() override;
  // A client may keep its connection without a request, but only once it has shown that it speaks HTTP/2 (and TLS), and
  // while it answers when it is asked.
  bool is_waiting_for_peer() const override { return !greeted_ || asked_; }
  // The calls that the client has ended are answered, the others can end in no other way.
  void on_input_end() override;
  void probe() override;
  void on_sweep(std::uint32_t silent) override;
  bool has_work() const override;
  void on_drain() override;
  void on_goodbye() override;
  void on_closed() override;

 private:
  struct Callbacks;

  // StreamHost
  ConnectionSet* connections() const override { return set(); }
  MemoryBudget* request_budget() override { return Connection::request_budget(); }
  void respond(Stream* stream, std::span<const Field> fields, bool end) override;
  void resume_body(Stream* stream) override;
  void consume(Stream* stream, std::size_t bytes) override;
  void reset(Stream* stream, std::uint32_t error) override;
  bool is_late() const override { return Connection::is_late(); }
  void keep_until_read(std::shared_ptr<const void> memory) override;
  void hold(Stream* stream) override;
  void let_go(Stream* stream) override;

  // Http2Input
  Target target_of(std::int32_t stream) const override;

  bool start_session();
  void on_pong(const std::uint8_t* said);
  Stream* take_stream();
  void release_stream(Stream* stream);
  [[nodiscard]] bool has_open_streams() const;

  const std::shared_ptr<const Http2Context> context_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Stream*> free_streams_;
  Stream* last_stream_ = nullptr;          // whose frame came last
  Stream* last_placed_ = nullptr;          // whose bytes are placed as they come, if the last DATA was its; else null
  bool greeted_ = false;                   // the peer's SETTINGS have come
  bool asked_ = false;                     // by a PING, and nothing has come since
  bool broken_ = false;                    // the peer does not speak HTTP/2
  const std::byte* input_end_ = nullptr;   // of what nghttp2 is reading
  std::unique_ptr<Http2Placing> placing_;  // once there was something to be placed
  bool reading_pieces_ = false;
  std::vector<std::shared_ptr<const void>> kept_;  // until the pieces have been read
  std::size_t unconsumed_ = 0;  // DATA bytes of this input for which the connection's window was not yet opened
  std::size_t holds_ = 0;
  std::shared_ptr<Connection> self_;  // while streams are held
};

}  // namespace servoir::http
