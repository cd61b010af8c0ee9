// Http2Connection: HTTP/2 by prior knowledge with gRPC calls in its streams.
//
// nghttp2 keeps the protocol's state and turns bytes into callbacks; frames it makes go into the connection's output,
// DATA without passing through nghttp2's buffers. What a client may occupy is bounded: streams, header bytes, frames
// that ask for an answer, resets, and the answers that it does not read.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "net/connection.h"
#include "net/grpc_call.h"
#include "net/grpc_method.h"
#include "schedule/scheduler.h"

namespace servoir {

// What the connections of a gRPC listener share; outlives them.
struct GrpcContext {
  const GrpcRoutes* routes = nullptr;
  Scheduler* scheduler = nullptr;
  std::uint64_t max_message_bytes = 100U << 20U;
};

class Http2Connection final : public Connection {
 public:
  static constexpr std::uint32_t kMaxStreams = 1024;
  static constexpr std::uint32_t kMaxHeaderBytes = 16384;

  Http2Connection(IoThread* thread, UniqueFd socket, std::unique_ptr<ByteStream> stream, std::uint32_t listener,
                  std::shared_ptr<const GrpcContext> context);
  ~Http2Connection() override;

  // ---- for its calls
  using Connection::closed;
  using Connection::need_flush;
  using Connection::thread;
  [[nodiscard]] const GrpcContext& context() const { return *context_; }
  // Headers and, unless `end`, the call's answer behind them.
  void send_response(GrpcCall* call, std::span<const nghttp2_nv> headers, bool end);
  void reset(GrpcCall* call, std::uint32_t http2_error);
  // The call waits for, or has got, the scheduler's answer: the connection lives until all have come.
  void answer_awaited();
  // A sink that is not used any more. Its place may still hold input that was not read yet, so it lives until then.
  void retire(std::unique_ptr<MessageSink> sink) {
    if (sink && reading_pieces_) retired_.push_back(std::move(sink));
  }
  void answer_come(GrpcCall* call);

 protected:
  void on_input(std::span<const std::byte> bytes) override;
  std::size_t place_input(std::span<iovec> pieces) override;
  void on_pieces(std::span<const iovec> pieces) override;
  void on_flush() override;
  // A client may keep its connection without a call, but only once it has shown that it speaks HTTP/2 (and TLS).
  bool is_waiting_for_peer() const override { return !greeted_; }
  void on_sweep() override;
  void on_shutdown() override;
  void on_closed() override;

 private:
  struct Callbacks;
  void read_pieces(std::span<const iovec> pieces);
  [[nodiscard]] std::span<std::byte> place_of(std::int32_t stream) const;
  [[nodiscard]] bool is_as_guessed(std::span<const iovec> pieces, std::size_t i) const;
  bool start_session();
  GrpcCall* take_call();
  void release_call(GrpcCall* call);

  const std::shared_ptr<const GrpcContext> context_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<GrpcCall>> calls_;
  std::vector<GrpcCall*> free_calls_;
  GrpcCall* last_call_ = nullptr;
  GrpcCall* last_sink_ = nullptr;  // whose large message got the last DATA; null when it was for another call
  bool greeted_ = false;           // the peer's SETTINGS have come
  bool broken_ = false;            // the peer does not speak HTTP/2
  // Where the input stands, for receiving DATA in place.
  const std::byte* input_end_ = nullptr;  // of what nghttp2 is reading
  std::int32_t data_stream_ = 0;          // of the DATA frame that was begun last; 0 when it is another frame
  std::size_t frame_bytes_ = 0;           // its payload
  std::size_t frame_left_ = 0;            // and what of it has not come
  bool in_data_ = false;                  // the input so far ended with its head or inside or behind its payload
  bool reading_pieces_ = false;
  std::vector<std::unique_ptr<MessageSink>> retired_;
  std::size_t unconsumed_ = 0;  // DATA bytes of this input for which the connection's window was not yet opened
  std::size_t awaited_ = 0;
  std::shared_ptr<Connection> self_;  // while answers are awaited
};

}  // namespace servoir
