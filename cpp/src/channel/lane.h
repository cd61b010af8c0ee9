// Lane: a thread of a worker that executes batches, as seen through its two rings.
//
// A worker process has a lane for its Python stages and, if it owns a device, another for its models, so that Python
// and models overlap. The two rings are in a memfd, which the server makes and the worker inherits and maps.
// ServerLane::post() is called by one thread at a time; the other functions of ServerLane belong to a single thread,
// which need not be the thread that posts. WorkerLane belongs to the lane's thread, except for stop() and interrupt().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/status.h"
#include "base/unique_fd.h"
#include "channel/ring.h"

namespace servoir {

// What the scheduler needs of a lane. Tests have a lane of their own.
class LanePort {
 public:
  virtual ~LanePort() = default;
  // Puts a record into the task ring and wakes the worker if it sleeps. Returns false if there is no room now.
  virtual bool post(std::span<const std::byte> record) = 0;
  // The largest record that post() could ever take.
  [[nodiscard]] virtual std::uint32_t max_record() const = 0;
};

struct LaneSizes {
  // In bytes. A page takes memory when it is first touched, and few pages after the first 64 KiB ever are (see ring.h).
  std::uint32_t task_capacity = 1U << 20U;
  std::uint32_t done_capacity = 1U << 20U;
};

// The server's end. It owns the memory, and the eventfd that the worker raises when there are results and the server
// does not look.
class ServerLane final : public LanePort {
 public:
  static Result<std::unique_ptr<ServerLane>> create(LaneSizes sizes = {});
  ~ServerLane() override;

  bool post(std::span<const std::byte> record) override;
  [[nodiscard]] std::uint32_t max_record() const override;

  // The oldest record of the done ring, or nothing.
  [[nodiscard]] Result<std::optional<std::span<const std::byte>>> peek();
  void release();
  // Arms the wake-up. True: the done ring is empty, and the worker will raise event_fd() for the next record. False: a
  // record has come, and the caller is to drain the ring again.
  bool arm();

  // How many records the worker says that its log has left out.
  [[nodiscard]] std::uint64_t left_out_records() const;

  [[nodiscard]] int event_fd() const;  // readable when records wait; inherited by the worker
  // The caller keeps the eventfd open until the last arm(). The result is invalid if the eventfd was taken before.
  [[nodiscard]] UniqueFd take_event();
  [[nodiscard]] int memory_fd() const;  // inherited by the worker; -1 after close_memory_fd()
  // Closes this process's descriptor once the worker has its own. The memory stays mapped.
  void close_memory_fd();

 private:
  struct Impl;
  explicit ServerLane(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The worker's end.
class WorkerLane {
 public:
  // Takes both descriptors. `spin_us`: how long wait() looks at the ring before it sleeps; 0 if no core is free.
  static Result<std::unique_ptr<WorkerLane>> attach(UniqueFd memory, UniqueFd event, std::uint32_t spin_us = 0);
  ~WorkerLane();

  // The next record; waits for it. Nothing after stop() or when timeout_ms (< 0: none) has passed. Valid until
  // release().
  // `interruptible`: nothing also after interrupt(), once.
  [[nodiscard]] Result<std::optional<std::span<const std::byte>>> wait(int timeout_ms, bool interruptible = false);
  void release();
  // Puts a record into the done ring, and raises the eventfd if the server does not look. Waits while the ring is full.
  // InvalidArgument if the record can never fit.
  [[nodiscard]] Status post(std::span<const std::byte> record);
  // Where the worker counts the records that its log leaves out. It lives as long as the lane.
  [[nodiscard]] std::atomic<std::uint64_t>* left_out_records();
  // Any thread. From now on wait() returns nothing.
  void stop();
  // Any thread. The wait() that is under way, or else the next wait(), returns nothing if it is interruptible.
  void interrupt();

 private:
  struct Impl;
  explicit WorkerLane(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
