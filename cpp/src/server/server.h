// Server: everything that a serving process has: arena, scheduler, I/O threads, listeners, and the lanes of its
// workers.
//
// Any thread may call it, except the I/O threads themselves. Calls that concern connections or lanes wait for the I/O
// thread, but no call waits for a client or a worker. After stop() every call except stats() and stop() is an error. A
// forked child can only destroy the object, which leaves everything to the parent.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "channel/lane.h"
#include "metrics/snapshot.h"
#include "net/tls_stream.h"
#include "request/graph.h"
#include "schedule/scheduler.h"

namespace servoir {

struct ServerOptions {
  std::uint64_t arena_limit = 1U << 30U;  // bytes
  // For bodies and answers of REST clients, in bytes; 0: half of arena_limit, or 256 MiB where that is more.
  std::uint64_t rest_limit = 0;
  std::uint32_t io_threads = 1;
  std::uint32_t max_connections = 65536;  // of all listeners together; the next ones wait in the kernel
  bool take_nonfinite = false;            // NaN and infinities in JSON, see JsonDocument::parse()
  std::chrono::milliseconds sweep{5000};  // a connection times out after 20 of these
};

enum class Protocol : std::uint8_t { kGrpc, kRest };

// Called on a dedicated thread when a worker must be ended, with the reason. `overdue`: a batch took longer than it
// may; otherwise the worker has broken the channel's protocol.
using LaneFailure = std::function<void(AttachmentId, const std::string& reason, bool overdue)>;

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(const ServerOptions& options);
  ~Server();  // stops the server
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] int arena_fd() const;

  // Opens a listener and returns its number. See parse_address for `address`; port 0 gives a free one. Without `tls`
  // connections are not encrypted.
  [[nodiscard]] Result<std::uint32_t> listen(std::string_view address, Protocol protocol,
                                             std::uint64_t max_message_bytes, const TlsSettings* tls = nullptr);
  // The bound address.
  [[nodiscard]] Result<std::string> listener_address(std::uint32_t listener) const;
  // Closes the listening socket and its connections. The port is free when it returns.
  [[nodiscard]] Status close_listener(std::uint32_t listener);

  [[nodiscard]] Result<ServableId> publish(ServableSpec spec);
  [[nodiscard]] Status withdraw(ServableId servable, std::string_view reason);

  // Makes a lane for a worker that is about to start. It lives as long as it is attached or held by the caller.
  [[nodiscard]] Result<std::shared_ptr<ServerLane>> open_lane() const;
  [[nodiscard]] Result<AttachmentId> attach_lane(ServableId servable, std::shared_ptr<ServerLane> lane,
                                                 std::span<const std::uint32_t> callees, std::string name);
  // The worker is dead, and was waited for. Results that it sent before still count. `by_itself`, and what it returns:
  // as Scheduler::detach().
  [[nodiscard]] Result<bool> detach_lane(AttachmentId attachment, std::string_view reason, bool by_itself = false);
  // The lane gets no new batches. Returns true when it holds none any more.
  [[nodiscard]] Result<bool> drain_lane(AttachmentId attachment);
  // It replaces the callback set before.
  void on_lane_failure(LaneFailure callback);

  void set_max_enqueued_requests(std::uint64_t limit);
  // What the server's figures show now.
  [[nodiscard]] metrics::Snapshot stats() const;

  // ---- the end, step by step. Each does nothing after stop(), and nothing in a forked child.
  // Health says from now on that the server is not ready. It serves on.
  void announce_end();
  // Clients are told to go elsewhere, and what they ask until they know is answered. Those that come now are refused,
  // except for health and figures.
  void drain();
  // How many of the connections that were there at drain() have promised an answer, or the rest of it.
  [[nodiscard]] std::size_t busy_connections() const;
  [[nodiscard]] std::size_t open_connections() const;
  // Nobody can connect any more. Who waits to be accepted is accepted, which takes a moment to be served.
  void close_doors();
  // Does what is left of these steps at once: requests that are not answered are refused. Then it closes listeners and
  // connections, and ends the threads.
  void stop();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  [[nodiscard]] Status check_usable() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
