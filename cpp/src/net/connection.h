// Connection: one accepted socket; reads, writes, backpressure and time-outs for the protocol on top of it.
//
// Received bytes are seen in the loop's shared buffer; the protocol must use them up or keep them before it returns.
// What is to be sent goes into output(); it leaves at the end of the turn. When the peer does not take it, the protocol
// is asked for no more (on_flush), and no more is read. Belongs to the thread of its set's loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "memory/memory_budget.h"
#include "net/byte_stream.h"
#include "net/connection_set.h"
#include "net/fd_watch.h"
#include "net/output_queue.h"
#include "net/pace.h"

namespace servoir {

class Connection : public FdEvents, public std::enable_shared_from_this<Connection> {
 public:
  // Bytes in output() from which on the protocol should wait with more.
  static constexpr std::size_t kHighWater = 1U << 20U;
  // Places that input is received into in one go, at most.
  static constexpr std::size_t kMostDestinations = 32;

  // `listener`: number of the listener that accepted it.
  Connection(ConnectionSet* set, WatchedFd socket, std::unique_ptr<ByteStream> stream, std::uint32_t listener);
  ~Connection() override;

  void start();
  // Closes immediately; unsent output is dropped. on_closed() is called once.
  void abort();
  // What has come already is still read. Then a last message is sent, and the connection ends as after
  // close_after_output(): abort() is for a peer that takes too long.
  void goodbye();
  // The server begins to end: see on_drain().
  void drain() {
    if (!closed_ && !closing_) on_drain();
  }
  // Whether the server had begun to end before it was accepted.
  [[nodiscard]] bool is_late() const { return is_late_; }
  // Whether the peer has been promised something, an answer or the rest of it.
  [[nodiscard]] bool is_busy() const {
    return !closed_ && !output_ended_ && (!output_.empty() || (!closing_ && has_work()));
  }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::uint32_t listener() const { return listener_; }
  // What the requests of this connection may have together, until they are answered.
  [[nodiscard]] MemoryBudget* request_budget() {
    if (request_budget_ == nullptr) request_budget_ = std::make_shared<MemoryBudget>(set_->request_bytes());
    return request_budget_.get();
  }

  void flush();  // by the set, at the end of a turn
  void sweep();  // by the set
  void on_readable() final;
  void on_writable() final;
  void on_hangup() final { abort(); }

 protected:
  // Bytes have come.
  virtual void on_input(std::span<const std::byte> bytes) = 0;
  // Where to receive the next bytes: fills in places, at most kMostDestinations, and returns how many. on_received()
  // then gets those that were filled, cut to what came. The loop's receive buffer and on_input() by default.
  virtual std::size_t next_destinations(std::span<iovec> places);
  virtual void on_received(std::span<const iovec> pieces);
  // The peer will send no more, but may still read: that it has gone altogether shows in a reset, or in output that is
  // answered by a reset. Closes by default.
  virtual void on_input_end() { abort(); }
  // Fill output() up to kHighWater.
  virtual void on_flush() {}
  // Whether more input can be used now. Looked at after each flush.
  [[nodiscard]] virtual bool wants_input() const { return true; }
  // Whether the peer owes something, so that a time without any progress is an end.
  [[nodiscard]] virtual bool is_waiting_for_peer() const = 0;
  // Every ConnectionTimeouts::sweep. `silent`: how many of them ago the last progress was.
  virtual void on_sweep(std::uint32_t /*silent*/) {}
  // The peer has ended its input a while ago: puts something into output() that means nothing to a peer that waits for
  // its answers, and that the kernel of a peer that has gone answers with a reset. Where the protocol has such a thing.
  virtual void probe() {}
  // Whether a request has come, in whole or in part, that is not answered yet.
  [[nodiscard]] virtual bool has_work() const = 0;
  // The server begins to end: the peer is to be told, as soon as the protocol allows it, that it should go elsewhere.
  // What it asks until then is answered.
  virtual void on_drain() {}
  // The server is about to close the connection: put what there is to say into output().
  virtual void on_goodbye() {}
  // The connection is over: let go of all that is under way.
  virtual void on_closed() = 0;

  [[nodiscard]] ConnectionSet* set() const { return set_; }
  [[nodiscard]] EventLoop* loop() const { return set_->loop(); }
  [[nodiscard]] IoBuffers* buffers() const { return set_->buffers(); }
  [[nodiscard]] OutputQueue& output() { return output_; }
  [[nodiscard]] const OutputQueue& output() const { return output_; }
  // Whether the peer has ended its side.
  [[nodiscard]] bool input_ended() const { return input_ended_; }
  void need_flush();
  // Sends what is in output(), then closes: the peer is given a while to read it.
  void close_after_output();
  // Something happened that restarts the time-out, which is then of so many sweeps. Within it `least` bytes have to
  // come, and in each one after it.
  void expect(std::uint64_t least, std::uint32_t sweeps) {
    input_pace_.restart(set_->sweeps(), least);
    patience_ = sweeps;
  }
  void progress() { expect(1, set_->idle_sweeps()); }

 private:
  void read_input();
  void update_reading();
  void end_input();

  ConnectionSet* const set_;
  FdWatch watch_;
  const std::unique_ptr<ByteStream> stream_;
  const std::uint32_t listener_;
  const bool is_late_;
  std::shared_ptr<MemoryBudget> request_budget_;  // null until it is asked for: most connections are idle
  OutputQueue output_;
  Pace input_pace_;
  std::uint32_t patience_ = 0;      // sweeps without progress after which a peer that owes something is given up
  std::uint32_t ended_sweeps_ = 0;  // since the peer has ended its side
  std::uint32_t last_taken_ = 0;    // sweep in which the peer took something, or owed nothing
  bool had_output_ = false;         // at the last sweep
  bool flush_scheduled_ = false;
  bool reading_ = false;  // waits for input
  bool writing_ = false;  // waits until the socket takes more
  // TLS has to send before it can receive, or the other way round.
  bool reading_needs_output_ = false;  // the wait for room serves a read
  bool writing_needs_input_ = false;   // the wait for input serves a write
  bool closing_ = false;               // close_after_output() was called: no input is used any more
  bool input_ended_ = false;           // the peer's side is ended
  bool output_ended_ = false;          // our side is ended; what still comes is thrown away
  bool closed_ = false;
};

}  // namespace servoir
