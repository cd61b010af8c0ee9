// Connection: one accepted socket; reads, writes, backpressure and time-outs for the protocol on top of it.
//
// Received bytes are seen in the thread's shared buffer and must be used up or kept by the protocol before it returns.
// What is to be sent goes into output(); it leaves at the end of the turn. When the peer does not take it, the protocol
// is asked for no more (on_flush), and no more is read. Belongs to its IoThread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "net/byte_stream.h"
#include "net/io_thread.h"
#include "net/output_queue.h"

namespace servoir {

class Connection : public FdEvents, public std::enable_shared_from_this<Connection> {
 public:
  // Bytes in output() from which on the protocol should wait with more.
  static constexpr std::size_t kHighWater = 1U << 20U;
  // Pieces that input is received into in one go, at most.
  static constexpr std::size_t kInputPieces = 32;

  // `listener`: number of the listener that accepted it.
  Connection(IoThread* thread, UniqueFd socket, std::unique_ptr<ByteStream> stream, std::uint32_t listener);
  ~Connection() override;

  void start();
  // Now, without sending what waits. on_closed() is called once.
  void close();
  // Now, after telling the peer why as far as its socket takes that at once.
  void shut_down();
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::uint32_t listener() const { return listener_; }

  void flush();  // by IoThread, at the end of a turn
  void sweep();  // by IoThread
  void on_readable() final;
  void on_writable() final;

 protected:
  // Bytes have come.
  virtual void on_input(std::span<const std::byte> bytes) = 0;
  // Where to put the next bytes that come: fills in pieces, at most kInputPieces, and returns how many. on_pieces()
  // then gets those that were filled, cut to what came. The thread's receive buffer and on_input() by default.
  virtual std::size_t place_input(std::span<iovec> pieces);
  virtual void on_pieces(std::span<const iovec> pieces);
  // The peer will send no more. Closes by default.
  virtual void on_input_end() { close(); }
  // Fill output() up to kHighWater.
  virtual void on_flush() {}
  // Whether more input can be used now. Looked at after each flush.
  [[nodiscard]] virtual bool wants_input() const { return true; }
  // Whether the peer owes something, so that a time without any progress is an end.
  [[nodiscard]] virtual bool is_waiting_for_peer() const = 0;
  virtual void on_sweep() {}
  // The server is about to close the connection: put what there is to say into output().
  virtual void on_shutdown() {}
  // The connection is over: let go of all that is under way.
  virtual void on_closed() = 0;

  [[nodiscard]] IoThread* thread() const { return thread_; }
  [[nodiscard]] OutputQueue& output() { return output_; }
  void need_flush();
  // Send what is in output(), then end: the peer is given a while to read it.
  void finish();
  // Something happened that restarts the time-out.
  void progress() { last_progress_ = thread_->sweeps(); }

 private:
  void read_input();
  void update_reading();

  IoThread* const thread_;
  FdWatch watch_;
  const std::unique_ptr<ByteStream> stream_;
  const std::uint32_t listener_;
  OutputQueue output_;
  std::uint32_t last_progress_ = 0;  // sweep in which something came or was said to be progress
  std::uint32_t last_taken_ = 0;     // sweep in which the peer took something, or owed nothing
  bool flush_scheduled_ = false;
  bool reading_ = false;  // waits for input
  bool writing_ = false;  // waits until the socket takes more
  // TLS has to send before it can receive, or the other way round.
  bool reading_needs_output_ = false;  // the wait for room serves a read
  bool writing_needs_input_ = false;   // the wait for input serves a write
  bool finishing_ = false;             // no input is used any more
  bool shut_ = false;                  // our side is ended; what still comes is thrown away
  bool closed_ = false;
};

}  // namespace servoir
