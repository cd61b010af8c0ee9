// IoThread: an event loop of the server, and what belongs to it: among that a second thread for work that would keep
// the loop's clients waiting, which starts when there is some.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "net/alarm.h"
#include "net/connection_set.h"
#include "net/event_loop.h"
#include "net/io_buffers.h"
#include "server/callback_thread.h"
#include "service/answer_relay.h"

namespace servoir {

// The members are destroyed from the last to the first: the end of the loop may be the end of connections that it still
// held, so what these use comes before it. At the end of a turn the scheduler is pumped before connections are flushed.
struct IoThread {
  IoThread(std::uint32_t number, Scheduler* scheduler, const metrics::Scope& figures, ConnectionTimeouts timeouts,
           std::uint64_t request_bytes)
      : loop(number),
        relay(&loop, scheduler, figures),
        alarm(&loop, [scheduler](ServableId id) { scheduler->tick(id, Clock::now()); }),
        connections(&loop, &buffers, timeouts, request_bytes) {}

  // Runs `work` on the thread for such, and then `done` in the loop. In the loop.
  void run_aside(std::function<void()> work, std::function<void()> done) {
    const bool taken = aside.enqueue([this, work = std::move(work), done] {
      if (!ending.load(std::memory_order_relaxed)) work();
      loop.post(done);
    });
    if (!taken) done();
  }
  // What is still to be done aside is not done any more. Before stop().
  void end_aside() {
    ending.store(true, std::memory_order_relaxed);
    aside.finish();
  }

  // Ends the loop. What was still on its way to the loop is dropped; no connection is left that would want it.
  void stop() {
    loop.run_and_wait([this] { connections.abort_all(); });
    loop.stop();
    relay.finish();
    connections.clear();
  }

  IoBuffers buffers;
  EventLoop loop;
  service::AnswerRelay relay;
  Alarm alarm;  // of the servables whose lanes are this thread's
  ConnectionSet connections;
  std::atomic<bool> ending{false};
  CallbackThread aside;
};

}  // namespace servoir
