// Services: the families of routes that a server offers, each in a file of its own, and what they are given to work
// with.
//
// A protocol's reader and writer (protocol/) know no socket, the transport (net/, http/, grpc/) knows no request; a
// service joins them. To add a family, write its file and add its line to services.cc.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "grpc/routes.h"
#include "http/routes.h"
#include "memory/slab.h"
#include "metrics/registry.h"
#include "net/event_loop.h"
#include "schedule/scheduler.h"
#include "service/answer_relay.h"

namespace servoir::service {

// What the services of a server share; outlives them. All of it may be used in any loop.
struct Frontend {
  Scheduler* scheduler = nullptr;
  SlabPool* slabs = nullptr;
  const metrics::Registry* figures = nullptr;
  bool take_nonfinite = false;       // NaN and infinities in JSON, see JsonDocument::parse()
  std::vector<AnswerRelay*> relays;  // [EventLoop::number()]
  // Why no request should be sent here now; empty: the server is ready.
  std::function<std::string_view()> why_not_ready;
  // Runs `work` on another thread, and then `done` in the loop, which calls this; without work when the server stops.
  // For what would keep the loop's other clients waiting.
  std::function<void(const EventLoop* loop, std::function<void()> work, std::function<void()> done)> aside;

  [[nodiscard]] AnswerRelay* relay(const EventLoop* loop) const { return relays[loop->number()]; }
};

// Adds the routes of all services. Before the first connection.
void add_services(const Frontend& frontend, grpc::Routes* grpc_routes, http::Routes* http_routes);

// ---- one function for each family

// mindspore.serving.proto.MSService/Predict: the protocol of MindSpore Serving.
void add_seed_grpc(const Frontend& frontend, grpc::Routes* routes);
// POST /model/NAME[/version/VERSION]:METHOD: the REST interface of MindSpore Serving.
void add_seed_rest(const Frontend& frontend, http::Routes* routes);
// grpc.health.v1.Health/Check.
void add_health_grpc(const Frontend& frontend, grpc::Routes* routes);
// GET /health/live and /health/ready.
void add_health_rest(const Frontend& frontend, http::Routes* routes);
// GET /metrics: the figures of the server, for Prometheus and other readers of OpenMetrics.
void add_metrics(const Frontend& frontend, http::Routes* routes);

}  // namespace servoir::service
