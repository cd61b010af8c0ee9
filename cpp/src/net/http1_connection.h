// Http1Connection: the REST API over HTTP/1.1 (and 1.0), one request after the other.
//
// Requests that are sent ahead (pipelining) wait in a bounded buffer. A client that ends its connection while its
// request runs cancels it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "memory/payload.h"
#include "memory/slab.h"
#include "net/connection.h"
#include "net/http1_parser.h"
#include "net/memory_budget.h"
#include "schedule/scheduler.h"

namespace servoir {

// What the connections of a REST listener share; outlives them.
struct RestContext {
  Scheduler* scheduler = nullptr;
  SlabPool* slabs = nullptr;
  std::uint64_t max_body_bytes = 100U << 20U;
  MemoryBudget* budget = nullptr;  // for bodies and answers; null: without limit
};

class Http1Connection final : public Connection, public AnswerTarget {
 public:
  Http1Connection(IoThread* thread, UniqueFd socket, std::unique_ptr<ByteStream> stream, std::uint32_t listener,
                  std::shared_ptr<const RestContext> context);

  void on_answer(std::shared_ptr<Request> request) override;

 protected:
  void on_input(std::span<const std::byte> bytes) override;
  void on_input_end() override;
  bool wants_input() const override { return pending_.size() < kMaxPending; }
  bool is_waiting_for_peer() const override { return !busy_; }
  void on_flush() override;
  void on_shutdown() override;
  void on_closed() override;

 private:
  static constexpr std::size_t kMaxPending = 65536;

  // Reads requests until one has to be waited for; returns how many bytes were used up.
  std::size_t read_requests(std::span<const std::byte> bytes);
  void on_head();
  void on_too_large();
  void on_over_budget();
  // Refuses a request whose body cannot be taken.
  void check_body();
  void read_on();
  void on_request();
  void refuse(int status, const Status& why);
  void respond(int status, Payload body);

  const std::shared_ptr<const RestContext> context_;
  Http1Parser parser_;
  MemoryShare answers_;  // that are not sent yet
  std::vector<std::byte> pending_;
  bool busy_ = false;       // the scheduler has the request
  bool answered_ = false;   // the request was refused before its end; the rest is thrown away
  bool held_back_ = false;  // further requests wait until the answers before them have been taken
  bool ending_ = false;     // no further request is read
  std::shared_ptr<Request> request_;
  std::shared_ptr<Connection> self_;  // while busy: the answer finds a living target
};

}  // namespace servoir
