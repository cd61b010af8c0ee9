// IoThread: an event loop with a thread of its own, and what its connections share.
//
// Work of one turn is collected and done once at the turn's end: first Scheduler::pump() (what came in together on
// several connections is batched together), then one flush for each connection that has something to send (several
// answers leave with one system call).
//
// A connection belongs to one IoThread, and only that thread touches it. `post`, `call` and `deliver` may be called
// from any thread; all else only from the loop's own. After stop() nothing runs any more, and `deliver` drops what it
// is given.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "net/output_queue.h"
#include "net/piece_pool.h"
#include "schedule/request.h"

namespace servoir {

class Connection;
class IoThread;

// Who waits for a descriptor. Each wait ends with one call.
class FdEvents {
 public:
  virtual ~FdEvents() = default;
  virtual void on_readable() = 0;
  virtual void on_writable() {}
};

// A descriptor that the loop watches. Owns it.
class FdWatch {
 public:
  FdWatch(IoThread* thread, UniqueFd fd);
  ~FdWatch();  // as close()
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  // The target is kept alive until it has been called, or until close().
  void wait_readable(std::shared_ptr<FdEvents> target);
  void wait_writable(std::shared_ptr<FdEvents> target);
  // Ends all waits without a call, and closes the descriptor. A socket is shut down first, so that it ends even where
  // a forked child holds a copy.
  void close();
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  struct Impl;
  UniqueFd fd_;
  std::unique_ptr<Impl> impl_;
};

class Timer {
 public:
  Timer(IoThread* thread, std::function<void()> on_time);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void set(Clock::time_point when);  // replaces the last one
  void cancel();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Gets the answer to a request, on its own thread.
class AnswerTarget {
 public:
  virtual ~AnswerTarget() = default;
  virtual void on_answer(std::shared_ptr<Request> request) = 0;
};

struct IoThreadOptions {
  std::function<void()> pump;               // at the end of a turn that called need_pump()
  std::chrono::milliseconds sweep{5000};    // how often connections are looked at for time-outs
  std::uint32_t idle_sweeps = 20;           // after so many without progress a connection is closed
  std::size_t receive_buffer = 256 * 1024;  // bytes taken from a socket in one go
};

class IoThread {
 public:
  explicit IoThread(IoThreadOptions options);
  ~IoThread();  // as stop()
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  void start();
  // Closes the connections, ends the loop and joins the thread. Not from a loop's thread.
  void stop();

  // Any thread: runs `work` in the loop, soon; not at all after stop().
  void post(std::function<void()> work);
  // Any thread: runs `work` in the loop and returns when it is done. At once when called in the loop, and after stop().
  void call(const std::function<void()>& work);
  // Any thread: hands an answer to its target in the loop. The target must live until it has its answer.
  void deliver(AnswerTarget* target, std::shared_ptr<Request> request);
  [[nodiscard]] bool here() const;

  void need_pump();
  void need_flush(std::shared_ptr<Connection> connection);

  [[nodiscard]] std::span<std::byte> receive_buffer() { return {receive_buffer_.get(), options_.receive_buffer}; }
  [[nodiscard]] ChunkPool* chunks() { return &chunks_; }
  [[nodiscard]] PiecePool* pieces() { return &pieces_; }
  // Counts the sweeps: the clock of the time-outs.
  [[nodiscard]] std::uint32_t sweeps() const { return sweeps_; }
  [[nodiscard]] std::uint32_t idle_sweeps() const { return options_.idle_sweeps; }

  void enlist(std::shared_ptr<Connection> connection);
  void dismiss(Connection* connection);
  // Closes the connections that `which` picks.
  void close_connections(const std::function<bool(const Connection&)>& which);
  [[nodiscard]] std::size_t connections() const { return connection_count_.load(std::memory_order_relaxed); }

  void count_request() { requests_.store(requests() + 1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }

 private:
  friend class FdWatch;
  friend class Timer;
  struct Loop;
  void schedule_turn_end();
  void end_turn();
  void take_answers();
  void sweep();

  const IoThreadOptions options_;
  // The loop's end may be the end of connections that it still held: what they use is older.
  ChunkPool chunks_;
  PiecePool pieces_;
  std::unique_ptr<Loop> loop_;
  std::unique_ptr<std::byte[]> receive_buffer_;
  bool turn_end_scheduled_ = false;
  bool pump_needed_ = false;
  std::vector<std::shared_ptr<Connection>> to_flush_;
  std::vector<std::shared_ptr<Connection>> flushing_;
  std::uint32_t sweeps_ = 0;
  std::unique_ptr<Timer> sweep_timer_;
  std::unordered_set<std::shared_ptr<Connection>> connections_;
  std::atomic<std::size_t> connection_count_{0};
  std::atomic<std::uint64_t> requests_{0};

  std::mutex answers_mutex_;
  std::vector<std::pair<AnswerTarget*, std::shared_ptr<Request>>> answers_;  // guarded by answers_mutex_
  std::vector<std::pair<AnswerTarget*, std::shared_ptr<Request>>> taken_;
};

}  // namespace servoir
