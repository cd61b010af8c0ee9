#include "server/server.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <mutex>
#include <utility>

#include "base/log.h"
#include "memory/slab.h"
#include "net/address.h"
#include "net/grpc_method.h"
#include "net/http1_connection.h"
#include "net/http2_connection.h"
#include "net/io_thread.h"
#include "net/listener.h"
#include "net/memory_budget.h"
#include "server/lane_watch.h"
#include "server/notices.h"

namespace servoir {
namespace {

// Texts of REST requests are not in the arena. With a small one there is still room for some of the usual limit.
constexpr std::uint64_t kLeastRestBytes = 256ULL << 20U;

std::uint64_t rest_bytes(const ServerOptions& options) {
  return options.rest_limit > 0 ? options.rest_limit : std::max(options.arena_limit / 2, kLeastRestBytes);
}

}  // namespace

// Connections and lanes refer to the scheduler, that to the slabs, those to the arena: the order of the members.
struct Server::Impl {
  Impl(std::unique_ptr<Arena> memory, const ServerOptions& options)
      : arena(std::move(memory)),
        rest_budget(rest_bytes(options)),
        slabs(arena.get()),
        scheduler(arena.get(), &slabs, {[this](Clock::time_point when) { wake_at(when); }}) {
    IoThreadOptions io;
    io.pump = [this] { scheduler.pump(); };
    io.sweep = options.sweep;
    for (std::uint32_t i = 0; i < std::max(options.io_threads, 1U); ++i) {
      threads.push_back(std::make_unique<IoThread>(io));
    }
    timer = std::make_unique<Timer>(threads.front().get(), [this] { scheduler.tick(Clock::now()); });
    routes.add(std::string(kPredictPath), make_predict_method(&scheduler, &slabs));
    routes.add(std::string(kHealthPath),
               make_health_method(&routes, [this] { return lane_count.load(std::memory_order_relaxed) > 0; }));
    for (const auto& thread : threads) thread->start();
  }

  IoThread* first_thread() { return threads.front().get(); }

  void wake_at(Clock::time_point when) {
    if (first_thread()->here()) {
      timer->set(when);
    } else {
      first_thread()->post([this, when] { timer->set(when); });
    }
  }

  // Nothing where there is no memory for the connection.
  using Connect = std::function<std::shared_ptr<Connection>(IoThread*, UniqueFd)>;

  Connect make_connect(std::uint32_t listener, Protocol protocol, std::uint64_t max_message_bytes,
                       std::shared_ptr<const TlsContext> secure) {
    const auto make_stream = [secure = std::move(secure)](int fd) -> std::unique_ptr<ByteStream> {
      if (secure == nullptr) return make_plain_stream(fd);
      Result<std::unique_ptr<ByteStream>> stream = secure->make_stream(fd);
      if (!stream.ok()) SERVOIR_ERROR("a connection is refused: " + std::string(stream.status().message()));
      return stream.ok() ? std::move(*stream) : nullptr;
    };
    if (protocol == Protocol::kGrpc) {
      auto context = std::make_shared<const GrpcContext>(GrpcContext{&routes, &scheduler, max_message_bytes});
      return [=](IoThread* thread, UniqueFd socket) -> std::shared_ptr<Connection> {
        auto stream = make_stream(socket.get());
        if (stream == nullptr) return nullptr;
        return std::make_shared<Http2Connection>(thread, std::move(socket), std::move(stream), listener, context);
      };
    }
    auto context =
        std::make_shared<const RestContext>(RestContext{&scheduler, &slabs, max_message_bytes, &rest_budget});
    return [=](IoThread* thread, UniqueFd socket) -> std::shared_ptr<Connection> {
      auto stream = make_stream(socket.get());
      if (stream == nullptr) return nullptr;
      return std::make_shared<Http1Connection>(thread, std::move(socket), std::move(stream), listener, context);
    };
  }

  // In the first thread.
  void accept(UniqueFd socket, const Connect& connect) {
    IoThread* least = first_thread();
    for (const auto& thread : threads) {
      if (thread->connections() < least->connections()) least = thread.get();
    }
    if (least->here()) {
      if (const auto connection = connect(least, std::move(socket))) connection->start();
      return;
    }
    least->post([connect, least, held = std::make_shared<UniqueFd>(std::move(socket))] {
      if (const auto connection = connect(least, std::move(*held))) connection->start();
    });
  }

  void close_connections(const std::function<bool(const Connection&)>& which) {
    for (const auto& thread : threads) {
      thread->call([&] { thread->close_connections(which); });
    }
  }

  const pid_t owner = ::getpid();
  std::unique_ptr<Arena> arena;
  MemoryBudget rest_budget;
  SlabPool slabs;
  std::vector<std::unique_ptr<IoThread>> threads;
  std::unique_ptr<Timer> timer;
  Scheduler scheduler;
  GrpcRoutes routes;
  Notices notices;
  std::atomic<std::size_t> lane_count{0};

  mutable std::mutex mutex;  // for what follows
  bool stopped = false;
  std::uint32_t next_listener = 1;
  std::map<std::uint32_t, std::unique_ptr<Listener>> listeners;
  struct AttachedLane {
    std::shared_ptr<ServerLane> lane;
    std::shared_ptr<LaneWatch> watch;
  };
  std::map<LaneId, AttachedLane> lanes;
  std::function<void(LaneId, const std::string&)> lane_failure;
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
  const std::lock_guard lock(impl_->mutex);
  if (impl_->stopped) return Status::FailedPrecondition("the server has been stopped; make a new one");
  return Status::Ok();
}

int Server::arena_fd() const { return impl_->arena->fd(); }

Result<std::uint32_t> Server::listen(std::string_view address, Protocol protocol, std::uint64_t max_message_bytes,
                                     const TlsSettings* tls) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  SERVOIR_ASSIGN_OR_RETURN(const Address where, parse_address(address));
  if (where.is_unix && protocol == Protocol::kRest) {
    return Status::InvalidArgument("address '" + std::string(address) +
                                   "' is a Unix socket; REST needs 'HOST:PORT', for example '127.0.0.1:1500'");
  }
  std::shared_ptr<const TlsContext> secure;
  if (tls != nullptr) {
    SERVOIR_ASSIGN_OR_RETURN(secure, TlsContext::create(*tls, protocol == Protocol::kGrpc ? "h2" : "http/1.1"));
  }
  SERVOIR_ASSIGN_OR_RETURN(ListeningSockets sockets, open_listening_sockets(where));

  Impl* impl = impl_.get();
  std::uint32_t number = 0;
  {
    const std::lock_guard lock(impl->mutex);
    number = impl->next_listener++;
  }
  const Impl::Connect connect = impl->make_connect(number, protocol, max_message_bytes, std::move(secure));
  std::unique_ptr<Listener> listener;
  impl->first_thread()->call([&] {
    listener = std::make_unique<Listener>(impl->first_thread(), std::move(sockets), [impl, connect](UniqueFd socket) {
      impl->accept(std::move(socket), connect);
    });
    listener->start();
  });
  SERVOIR_INFO("listening on " + listener->address().text() + " for " +
               (protocol == Protocol::kGrpc ? "gRPC" : "REST"));
  const std::lock_guard lock(impl->mutex);
  impl->listeners.emplace(number, std::move(listener));
  return number;
}

Result<std::string> Server::listener_address(std::uint32_t listener) const {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->listeners.find(listener);
  if (found == impl_->listeners.end()) return Status::NotFound("there is no listener " + std::to_string(listener));
  return found->second->address().text();
}

Status Server::close_listener(std::uint32_t listener) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  std::unique_ptr<Listener> closing;
  {
    const std::lock_guard lock(impl_->mutex);
    const auto found = impl_->listeners.find(listener);
    if (found == impl_->listeners.end()) return Status::NotFound("there is no listener " + std::to_string(listener));
    closing = std::move(found->second);
    impl_->listeners.erase(found);
  }
  impl_->first_thread()->call([&] { closing.reset(); });
  impl_->close_connections([listener](const Connection& connection) { return connection.listener() == listener; });
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

Result<LaneId> Server::attach_lane(ServableId servable, std::shared_ptr<ServerLane> lane,
                                   std::span<const std::uint32_t> callees, std::string name) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  UniqueFd event(::fcntl(lane->event_fd(), F_DUPFD_CLOEXEC, 0));
  if (!event.valid()) return Status::FromErrno("cannot copy the lane's eventfd", errno);
  Impl* impl = impl_.get();
  Result<LaneId> attachment = LaneId{0};
  impl->first_thread()->call([&] {
    attachment = impl->scheduler.attach(servable, lane.get(), callees, std::move(name));
    if (!attachment.ok()) return;
    const auto broken = [impl](LaneId id, std::string text) {
      const std::lock_guard lock(impl->mutex);
      if (!impl->lane_failure) return;
      impl->notices.call([callback = impl->lane_failure, id, text = std::move(text)] { callback(id, text); });
    };
    auto watch = std::make_shared<LaneWatch>(impl->first_thread(), &impl->scheduler, lane, std::move(event),
                                             *attachment, broken);
    {
      const std::lock_guard lock(impl->mutex);
      impl->lanes.emplace(*attachment, Impl::AttachedLane{std::move(lane), watch});
      impl->lane_count.store(impl->lanes.size(), std::memory_order_relaxed);
    }
    watch->start();
    impl->first_thread()->need_pump();
  });
  return attachment;
}

Status Server::detach_lane(LaneId attachment, std::string_view reason) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  Impl::AttachedLane lane;
  {
    const std::lock_guard lock(impl_->mutex);
    const auto found = impl_->lanes.find(attachment);
    if (found == impl_->lanes.end()) {
      return Status::NotFound("no lane is attached with the number " + std::to_string(attachment));
    }
    lane = std::move(found->second);
    impl_->lanes.erase(found);
    impl_->lane_count.store(impl_->lanes.size(), std::memory_order_relaxed);
  }
  impl_->first_thread()->call([&] {
    lane.watch->finish();
    impl_->scheduler.detach(attachment, reason);
    impl_->first_thread()->need_pump();
  });
  return Status::Ok();
}

Result<bool> Server::drain_lane(LaneId attachment) {
  SERVOIR_RETURN_IF_ERROR(check_usable());
  return impl_->scheduler.drain(attachment);
}

void Server::on_lane_failure(std::function<void(LaneId, const std::string&)> callback) {
  const std::lock_guard lock(impl_->mutex);
  impl_->lane_failure = std::move(callback);
}

void Server::set_max_enqueued_requests(std::uint64_t limit) { impl_->scheduler.set_max_enqueued_requests(limit); }

ServerStats Server::stats() const {
  ServerStats stats;
  stats.arena = impl_->arena->usage();
  for (const auto& thread : impl_->threads) {
    stats.connections += thread->connections();
    stats.requests += thread->requests();
  }
  stats.rest_bytes = impl_->rest_budget.used();
  stats.callees = impl_->scheduler.stats();
  return stats;
}

void Server::stop() {
  if (::getpid() != impl_->owner) return;
  std::map<std::uint32_t, std::unique_ptr<Listener>> listeners;
  std::map<LaneId, Impl::AttachedLane> lanes;
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->stopped) return;
    impl_->stopped = true;
    listeners.swap(impl_->listeners);
    lanes.swap(impl_->lanes);
  }
  IoThread* first = impl_->first_thread();
  first->call([&] { listeners.clear(); });
  // Ending a connection cancels its requests, so every answer is on its way when the threads end.
  impl_->close_connections([](const Connection&) { return true; });
  first->call([&] {
    impl_->timer->cancel();
    for (auto& [id, lane] : lanes) lane.watch->close();
  });
  // A thread may still be handing an answer to another one: all have to be past that before the first ends.
  for (const auto& thread : impl_->threads) thread->call([] {});
  for (const auto& thread : impl_->threads) thread->stop();
  impl_->notices.stop();
  for (auto& [id, lane] : lanes) impl_->scheduler.detach(id, "the server is stopping");
}

}  // namespace servoir
