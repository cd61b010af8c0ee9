#include "net/connection_set.h"

#include <algorithm>
#include <utility>

#include "net/connection.h"

namespace servoir {

ConnectionSet::ConnectionSet(EventLoop* loop, IoBuffers* buffers, ConnectionTimeouts timeouts,
                             std::uint64_t request_bytes)
    : loop_(loop), buffers_(buffers), timeouts_(timeouts), request_bytes_(request_bytes), sweep_timer_(loop, [this] {
        sweep();
      }) {
  loop->at_turn_end([this] { return flush(); });
}

ConnectionSet::~ConnectionSet() = default;

void ConnectionSet::enlist(std::shared_ptr<Connection> connection) {
  connections_.insert(std::move(connection));
  size_.store(connections_.size(), std::memory_order_relaxed);
  if (connections_.size() == 1) sweep_timer_.set(Clock::now() + timeouts_.sweep);
}

void ConnectionSet::dismiss(Connection* connection) {
  connections_.erase(connection->shared_from_this());
  size_.store(connections_.size(), std::memory_order_relaxed);
  if (connections_.empty()) sweep_timer_.cancel();
}

void ConnectionSet::need_flush(std::shared_ptr<Connection> connection) {
  to_flush_.push_back(std::move(connection));
  loop_->want_turn_end();
}

bool ConnectionSet::flush() {
  if (to_flush_.empty()) return false;
  flushing_.swap(to_flush_);
  for (const std::shared_ptr<Connection>& connection : flushing_) connection->flush();
  flushing_.clear();
  return true;
}

void ConnectionSet::end_if(const std::function<bool(const Connection&)>& which) {
  std::vector<std::shared_ptr<Connection>> picked;
  for (const auto& connection : connections_) {
    if (which(*connection)) picked.push_back(connection);
  }
  for (const auto& connection : picked) connection->goodbye();
}

void ConnectionSet::drain() {
  is_draining_ = true;
  const std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) connection->drain();
}

std::size_t ConnectionSet::busy() const {
  return static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(), [](const auto& connection) {
    return !connection->is_late() && connection->is_busy();
  }));
}

void ConnectionSet::abort_all() {
  const std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) connection->abort();
}

void ConnectionSet::clear() {
  sweep_timer_.cancel();
  to_flush_.clear();
  connections_.clear();
}

void ConnectionSet::sweep() {
  ++sweeps_;
  const std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) connection->sweep();
  if (!connections_.empty()) sweep_timer_.set(Clock::now() + timeouts_.sweep);
}

}  // namespace servoir
