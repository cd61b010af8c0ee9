// Server: what a serving process is made of: arena, scheduler, I/O threads, listeners and the lanes of its workers.
//
// Any thread may call, except the I/O threads themselves. Calls that concern connections or lanes wait for the I/O
// thread; none waits for a client or a worker. After stop() every call but stats() and stop() is an error. In a forked
// child the object can only be destroyed, which leaves everything to the parent.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "channel/lane.h"
#include "memory/arena.h"
#include "net/tls_stream.h"
#include "schedule/graph.h"
#include "schedule/scheduler.h"

namespace servoir {

struct ServerOptions {
  std::uint64_t arena_limit = 1U << 30U;  // bytes
  // For bodies and answers of REST clients, in bytes; 0: half of arena_limit, or 256 MiB where that is less.
  std::uint64_t rest_limit = 0;
  std::uint32_t io_threads = 1;
  std::chrono::milliseconds sweep{5000};  // a connection's time-outs are 20 of it
};

enum class Protocol : std::uint8_t { kGrpc, kRest };

struct ServerStats {
  ArenaUsage arena;
  std::uint64_t connections = 0;  // open now
  std::uint64_t requests = 0;     // read so far
  std::uint64_t rest_bytes = 0;   // held now by bodies and answers of REST requests
  std::vector<CalleeStats> callees;
};

class Server {
 public:
  static Result<std::unique_ptr<Server>> create(const ServerOptions& options);
  ~Server();  // as stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] int arena_fd() const;

  // Opens a listener and returns its number. See parse_address for `address`; port 0 gives a free one. Without `tls`
  // connections are in the clear.
  [[nodiscard]] Result<std::uint32_t> listen(std::string_view address, Protocol protocol,
                                             std::uint64_t max_message_bytes, const TlsSettings* tls = nullptr);
  // The bound address.
  [[nodiscard]] Result<std::string> listener_address(std::uint32_t listener) const;
  // Closes the listening socket and its connections. The port is free when it returns.
  [[nodiscard]] Status close_listener(std::uint32_t listener);

  [[nodiscard]] Result<ServableId> publish(ServableSpec spec);
  [[nodiscard]] Status withdraw(ServableId servable, std::string_view reason);

  // A lane for a worker that is about to start. It lives as long as it is attached or the caller holds it.
  [[nodiscard]] Result<std::shared_ptr<ServerLane>> open_lane() const;
  [[nodiscard]] Result<LaneId> attach_lane(ServableId servable, std::shared_ptr<ServerLane> lane,
                                           std::span<const std::uint32_t> callees, std::string name);
  // The worker is dead and waited for. Results that it had sent still count.
  [[nodiscard]] Status detach_lane(LaneId attachment, std::string_view reason);
  // No new batches for it; true when it holds none any more.
  [[nodiscard]] Result<bool> drain_lane(LaneId attachment);
  // Called on an own thread when a worker breaks the channel's protocol. Replaces the last one.
  void on_lane_failure(std::function<void(LaneId, const std::string&)> callback);

  void set_max_enqueued_requests(std::uint64_t limit);
  [[nodiscard]] ServerStats stats() const;
  // Closes listeners and connections and ends the threads.
  void stop();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  [[nodiscard]] Status check_usable() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
