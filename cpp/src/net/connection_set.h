// ConnectionSet: the connections of one event loop, their flushes and their time-outs.
//
// What a connection has to send leaves at the end of the turn, so that several answers leave with one system call.
// Every `sweep` all connections look whether their time is up. Belongs to the loop's thread; size() may be read by any
// thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <unordered_set>
#include <vector>

#include "net/event_loop.h"
#include "net/io_buffers.h"
#include "net/timer.h"

namespace servoir {

class Connection;

struct ConnectionTimeouts {
  std::chrono::milliseconds sweep{5000};  // how often connections are looked at
  std::uint32_t idle_sweeps = 20;         // after so many without progress a connection is closed
  std::uint32_t head_sweeps = 6;          // within so many the head of a request has to be complete
};

class ConnectionSet {
 public:
  // Before the loop is started. Loop and buffers outlive the set.
  // `request_bytes`: how much memory the requests of one connection may have together.
  ConnectionSet(EventLoop* loop, IoBuffers* buffers, ConnectionTimeouts timeouts = {},
                std::uint64_t request_bytes = std::numeric_limits<std::uint64_t>::max());
  ~ConnectionSet();
  ConnectionSet(const ConnectionSet&) = delete;
  ConnectionSet& operator=(const ConnectionSet&) = delete;

  [[nodiscard]] EventLoop* loop() const { return loop_; }
  [[nodiscard]] IoBuffers* buffers() const { return buffers_; }

  void enlist(std::shared_ptr<Connection> connection);
  void dismiss(Connection* connection);
  void need_flush(std::shared_ptr<Connection> connection);
  // Says goodbye to the connections that `which` picks. They close when their peers have read it.
  void end_if(const std::function<bool(const Connection&)>& which);
  // The server begins to end: the connections are told, and those that come are late. See Connection::on_drain().
  void drain();
  [[nodiscard]] bool is_draining() const { return is_draining_; }
  // How many connections have promised something to their peers; late ones do not count.
  [[nodiscard]] std::size_t busy() const;
  // Closes what is left.
  void abort_all();
  // Once the loop has stopped: forgets the connections that are left.
  void clear();

  // Counts the sweeps: the clock of the time-outs.
  [[nodiscard]] std::uint32_t sweeps() const { return sweeps_; }
  [[nodiscard]] std::uint32_t idle_sweeps() const { return timeouts_.idle_sweeps; }
  [[nodiscard]] std::uint32_t head_sweeps() const { return timeouts_.head_sweeps; }
  [[nodiscard]] std::uint64_t request_bytes() const { return request_bytes_; }
  [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  bool flush();
  void sweep();

  EventLoop* const loop_;
  IoBuffers* const buffers_;
  const ConnectionTimeouts timeouts_;
  const std::uint64_t request_bytes_;
  std::vector<std::shared_ptr<Connection>> to_flush_;
  std::vector<std::shared_ptr<Connection>> flushing_;
  std::uint32_t sweeps_ = 0;
  bool is_draining_ = false;
  Timer sweep_timer_;
  std::unordered_set<std::shared_ptr<Connection>> connections_;
  std::atomic<std::size_t> size_{0};
};

}  // namespace servoir
