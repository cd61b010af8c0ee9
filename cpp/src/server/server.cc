#include "server/server.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "grpc/routes.h"
#include "http/routes.h"
#include "memory/memory_budget.h"
#include "memory/slab.h"
#include "metrics/counter.h"
#include "metrics/registry.h"
#include "net/address.h"
#include "net/listener.h"
#include "server/arena_figures.h"
#include "server/callback_thread.h"
#include "server/connect.h"
#include "server/doors.h"
#include "server/io_thread.h"
#include "server/lane_watch.h"
#include "server/left_out_records.h"
#include "service/service.h"

namespace servoir {
namespace {

// Texts of REST requests are not in the arena. With a small one there is still room for some of the usual limit.
constexpr std::uint64_t kLeastRestBytes = 256ULL << 20U;

// So long stop() waits for clients that have been told of the end to close their connections.
constexpr std::chrono::milliseconds kFarewell{250};
constexpr std::chrono::milliseconds kLook{1};

std::uint64_t rest_bytes(const ServerOptions& options) {
  return options.rest_limit > 0 ? options.rest_limit : std::max(options.arena_limit / 2, kLeastRestBytes);
}

}  // namespace

// The members are in the order in which they depend on each other: connections and lanes refer to the scheduler, which
// refers to the slabs, which refer to the arena.
struct Server::Impl {
  Impl(std::unique_ptr<Arena> memory, const ServerOptions& options)
      : max_connections(options.max_connections),
        arena(std::move(memory)),
        rest_budget(rest_bytes(options)),
        slabs(arena.get()),
        scheduler(&slabs, &figures,
                  {[this](ServableId id, Clock::time_point when) { thread_for(id)->alarm.want(id, when); },
                   [this](AttachmentId id, std::string reason) { lane_failed(id, std::move(reason), true); },
                   {}}) {
    frontend.scheduler = &scheduler;
    frontend.slabs = &slabs;
    frontend.figures = &figures;
    frontend.take_nonfinite = options.take_nonfinite;
    frontend.why_not_ready = [this]() -> std::string_view {
      if (announced_end.load(std::memory_order_relaxed)) return "the server is being stopped";
      return lane_count.load(std::memory_order_relaxed) > 0 ? "" : "no worker is ready";
    };
    frontend.aside = [this](const EventLoop* loop, std::function<void()> work, std::function<void()> done) {
      threads[loop->number()]->run_aside(std::move(work), std::move(done));
    };
    // The requests of one connection may have so much of the arena, and no client takes all of it.
    for (std::uint32_t i = 0; i < std::max(options.io_threads, 1U); ++i) {
      threads.push_back(std::make_unique<IoThread>(i, &scheduler, scope, ConnectionTimeouts{.sweep = options.sweep},
                                                   slabs.arena_limit() / 4 * 3));
      frontend.relays.push_back(&threads.back()->relay);
    }
    service::add_services(frontend, &grpc_routes, &http_routes);
    for (const auto& thread : threads) thread->loop.start();
  }

  void lane_failed(AttachmentId id, std::string reason, bool overdue) {
    const MutexLock lock(&mutex);
    if (lane_failure) callbacks.enqueue(std::bind_front(lane_failure, id, std::move(reason), overdue));
  }

  // Listeners, and servables with their lanes and their timer, are spread over the threads by their numbers. The lanes
  // of one servable share a thread, as they share a lock in the scheduler.
  [[nodiscard]] IoThread* thread_for(std::uint64_t number) const { return threads[number % threads.size()].get(); }

  // In the loop of any listener.
  void accept(WatchedFd socket, const Connect& connect) {
    IoThread* least = threads.front().get();
    for (const auto& thread : threads) {
      if (thread->connections.size() < least->connections.size()) least = thread.get();
    }
    if (least->loop.here()) {
      if (const auto connection = connect(&least->connections, std::move(socket))) connection->start();
      return;
    }
    least->loop.post([connect, least, held = std::make_shared<WatchedFd>(std::move(socket))] {
      if (const auto connection = connect(&least->connections, std::move(*held))) connection->start();
    });
  }

  // In the thread of each set, one after the other.
  void with_connections(const std::function<void(ConnectionSet&)>& work) {
    for (const auto& thread : threads) {
      thread->loop.run_and_wait([&] { work(thread->connections); });
    }
  }
  [[nodiscard]] std::size_t count_connections() const {
    std::size_t open = 0;
    for (const auto& thread : threads) open += thread->connections.size();
    return open;
  }
  // Why no connection is accepted now; empty: it is.
  [[nodiscard]] std::string refusal() const {
    const std::size_t open = count_connections();
    if (open < max_connections) return {};
    return std::to_string(open) + " are open, and the limit is " + std::to_string(max_connections) +
           " (SERVOIR_MAX_CONNECTIONS)";
  }

  const pid_t owner = ::getpid();
  const std::uint32_t max_connections;
  metrics::Registry figures;
  const metrics::Scope scope{&figures};
  std::unique_ptr<Arena> arena;
  MemoryBudget rest_budget;
  SlabPool slabs;
  std::vector<std::unique_ptr<IoThread>> threads;
  Scheduler scheduler;
  service::Frontend frontend;
  grpc::Routes grpc_routes;
  http::Routes http_routes;
  CallbackThread callbacks;
  std::atomic<std::size_t> lane_count{0};
  std::atomic<bool> announced_end{false};

  const ArenaFigures arena_figures{scope, arena.get()};
  const metrics::GaugeReading open_connections{scope, {"servoir_connections", "Open connections of clients."}, [this] {
                                                 return static_cast<double>(count_connections());
                                               }};
  LeftOutRecords left_out{scope};
  const metrics::GaugeReading rest_held{
      scope,
      {"servoir_rest_held_bytes", "Bytes that bodies and answers of REST requests hold.", metrics::Unit::kBytes},
      [this] { return static_cast<double>(rest_budget.used()); }};
  const metrics::GaugeReading request_heap{
      scope,
      {"servoir_request_heap_bytes", "Bytes that requests of many instances take besides their tensors.",
       metrics::Unit::kBytes},
      [this] { return static_cast<double>(slabs.heap()->used()); }};

  Mutex end_mutex;  // taken before the other one, and held for the length of a step of the end. No loop waits for it
  Doors doors SERVOIR_GUARDED_BY(end_mutex);

  mutable Mutex mutex;
  bool stopped SERVOIR_GUARDED_BY(mutex) = false;
  struct AttachedLane {
    IoThread* thread = nullptr;  // likewise
    std::shared_ptr<ServerLane> lane;
    std::shared_ptr<LaneWatch> watch;
  };
  std::map<AttachmentId, AttachedLane> lanes SERVOIR_GUARDED_BY(mutex);
  LaneFailure lane_failure SERVOIR_GUARDED_BY(mutex);
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Server>> Server::create(const ServerOptions& options) {
  SERVOIR_ASSIGN_OR_RETURN(std::unique_ptr<Arena> arena, Arena::create(options.arena_limit));
  return std::unique_ptr<Server>(new Server(std::make_unique<Impl>(std::move(arena), options)));
}

Server::~Server() {
  if (::getpid() != impl_->owner) {
    // A forked child: it has none of the threads, and what it would close, unlink or wake is the parent's.
    (void)impl_.release();
    return;
  }
  stop();
}

Status Server::check_usable() const {
  if (::getpid() != impl_->owner) {
    return Status::FailedPrecondition("this server belongs to process " + std::to_string(impl_->owner) +
                                      ", from which this one (" + std::to_string(::getpid()) + ") was forked");
  }
  const MutexLock lock(&impl_->mutex);
  if (impl_->stopped) return Status::FailedPrecondition("the server has been stopped; make a new one");
  return Status::Ok();
}

int Server::arena_fd() const { return impl_->arena->fd(); }

Result<std::uint32_t> Server::listen(std::string_view address, Protocol protocol, std::uint64_t max_message_bytes,
                                     const TlsSettings* tls) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  SERVOIR_ASSIGN_OR_RETURN(const Address where, parse_address(address));
  std::shared_ptr<const TlsContext> secure;
  if (tls != nullptr) {
    SERVOIR_ASSIGN_OR_RETURN(secure, TlsContext::create(*tls, alpn_of(protocol)));
  }
  SERVOIR_ASSIGN_OR_RETURN(ListeningSockets sockets, open_listening_sockets(where));

  Impl* impl = impl_.get();
  const MutexLock lock(&impl->end_mutex);
  const std::uint32_t number = impl->doors.next_number();
  const Connect connect = make_connect({number, protocol, max_message_bytes, std::move(secure)},
                                       {&impl->grpc_routes, &impl->http_routes, &impl->rest_budget});
  IoThread* thread = impl->thread_for(number);
  std::unique_ptr<Listener> listener;
  thread->loop.run_and_wait([&] {
    listener = std::make_unique<Listener>(
        &thread->loop, std::move(sockets),
        [impl, connect](WatchedFd socket) { impl->accept(std::move(socket), connect); },
        [impl] { return impl->refusal(); });
    listener->start();
  });
  SERVOIR_INFO("listening on " + listener->address().text() + " for " + std::string(name_of(protocol)));
  impl->doors.add(number, thread, std::move(listener));
  return number;
}

Result<std::string> Server::listener_address(std::uint32_t listener) const {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  const MutexLock lock(&impl_->end_mutex);
  return impl_->doors.address(listener);
}

Status Server::close_listener(std::uint32_t listener) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  const MutexLock lock(&impl_->end_mutex);
  SERVOIR_RETURN_IF_ERROR(impl_->doors.remove(listener));
  impl_->with_connections([listener](ConnectionSet& connections) {
    connections.end_if([listener](const Connection& connection) { return connection.listener() == listener; });
  });
  return Status::Ok();
}

Result<ServableId> Server::publish(ServableSpec spec) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  return impl_->scheduler.publish(std::move(spec));
}

Status Server::withdraw(ServableId servable, std::string_view reason) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  impl_->scheduler.withdraw(servable, reason);
  return Status::Ok();
}

Result<std::shared_ptr<ServerLane>> Server::open_lane() const {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  SERVOIR_ASSIGN_OR_RETURN(std::unique_ptr<ServerLane> lane, ServerLane::create());
  return std::shared_ptr<ServerLane>(std::move(lane));
}

Result<AttachmentId> Server::attach_lane(ServableId servable, std::shared_ptr<ServerLane> lane,
                                         std::span<const std::uint32_t> callees, std::string name) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  UniqueFd event = lane->take_event();
  if (!event.valid()) return Status::FailedPrecondition("the lane has been attached before");
  Impl* impl = impl_.get();
  IoThread* thread = impl->thread_for(servable);
  Result<AttachmentId> attachment = AttachmentId{0};
  thread->loop.run_and_wait([&] {
    attachment = impl->scheduler.attach(servable, lane.get(), callees, std::move(name));
    if (!attachment.ok()) return;
    auto watch = std::make_shared<LaneWatch>(
        &thread->relay, &impl->scheduler, lane, std::move(event), *attachment,
        [impl](AttachmentId id, std::string why) { impl->lane_failed(id, std::move(why), false); });
    {
      impl->left_out.add(lane);
      const MutexLock lock(&impl->mutex);
      impl->lanes.emplace(*attachment, Impl::AttachedLane{thread, std::move(lane), watch});
      impl->lane_count.store(impl->lanes.size(), std::memory_order_relaxed);
    }
    watch->start();
    thread->relay.need_pump();
  });
  return attachment;
}

Result<bool> Server::detach_lane(AttachmentId attachment, std::string_view reason, bool by_itself) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  Impl::AttachedLane lane;
  {
    const MutexLock lock(&impl_->mutex);
    const auto found = impl_->lanes.find(attachment);
    if (found == impl_->lanes.end()) {
      return Status::NotFound("no lane is attached with the number " + std::to_string(attachment));
    }
    lane = std::move(found->second);
    impl_->lanes.erase(found);
    impl_->lane_count.store(impl_->lanes.size(), std::memory_order_relaxed);
  }
  impl_->left_out.end(lane.lane);
  bool known_cause = false;
  lane.thread->loop.run_and_wait([&] {
    lane.watch->finish();
    known_cause = impl_->scheduler.detach(attachment, reason, by_itself);
    lane.thread->relay.need_pump();
  });
  return known_cause;
}

Result<bool> Server::drain_lane(AttachmentId attachment) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  return impl_->scheduler.drain(attachment);
}

void Server::on_lane_failure(LaneFailure callback) {
  const MutexLock lock(&impl_->mutex);
  impl_->lane_failure = std::move(callback);
}

void Server::set_max_enqueued_requests(std::uint64_t limit) { impl_->scheduler.set_max_enqueued_requests(limit); }

metrics::Snapshot Server::stats() const { return impl_->figures.snapshot(); }

void Server::announce_end() { impl_->announced_end.store(true, std::memory_order_relaxed); }

void Server::drain() {
  const MutexLock lock(&impl_->end_mutex);
  if (!check_usable().ok()) return;
  announce_end();
  impl_->doors.accept_waiting();
  impl_->with_connections([](ConnectionSet& connections) { connections.drain(); });
}

void Server::close_doors() {
  const MutexLock lock(&impl_->end_mutex);
  if (!check_usable().ok()) return;
  impl_->doors.close_all();
  impl_->with_connections([](ConnectionSet&) {});  // whoever was accepted has reached a thread
}

std::size_t Server::busy_connections() const {
  const MutexLock lock(&impl_->end_mutex);
  std::size_t busy = 0;
  if (!check_usable().ok()) return busy;
  impl_->with_connections([&](ConnectionSet& connections) { busy += connections.busy(); });
  return busy;
}

std::size_t Server::open_connections() const { return check_usable().ok() ? impl_->count_connections() : 0; }

void Server::stop() {
  if (::getpid() != impl_->owner) return;
  const MutexLock end_lock(&impl_->end_mutex);
  std::map<AttachmentId, Impl::AttachedLane> lanes;
  {
    const MutexLock lock(&impl_->mutex);
    if (impl_->stopped) return;
    impl_->stopped = true;
    lanes.swap(impl_->lanes);
  }
  announce_end();
  impl_->doors.close_all();
  impl_->doors.remove_all();
  // A connection that is closed while its client sends is reset, and what it was told last may be lost with that.
  impl_->with_connections(
      [](ConnectionSet& connections) { connections.end_if([](const Connection&) { return true; }); });
  const Clock::time_point late = Clock::now() + kFarewell;
  while (impl_->count_connections() > 0 && Clock::now() < late) std::this_thread::sleep_for(kLook);
  // Ending a connection cancels its requests, so every answer is on its way when the threads end.
  impl_->with_connections([](ConnectionSet& connections) { connections.abort_all(); });
  for (const auto& thread : impl_->threads) thread->loop.run_and_wait([&] { thread->alarm.cancel(); });
  for (auto& [id, lane] : lanes) lane.thread->loop.run_and_wait([&watch = *lane.watch] { watch.close(); });
  for (const auto& thread : impl_->threads) thread->end_aside();
  // A thread may still be handing an answer to another thread. All must be done with that before the first one ends.
  for (const auto& thread : impl_->threads) thread->loop.run_and_wait([] {});
  for (const auto& thread : impl_->threads) thread->stop();
  impl_->callbacks.stop();
  for (auto& [id, lane] : lanes) impl_->scheduler.detach(id, "the server is stopping");
}

}  // namespace servoir
