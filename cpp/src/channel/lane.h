// Lane: one thread of a worker that executes batches, as seen through its two rings.
//
// A worker process has one lane for its Python stages and, where it owns a device, one for its models, so that Python
// and models overlap. LaneMemory is a memfd with the two rings; the server makes it, the worker maps it by inheritance.
// ServerLane has two ends: post() is called under the scheduler's lock, the others by one thread, another perhaps.
// WorkerLane belongs to the lane's one thread, but for stop().
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

// What the scheduler needs of a lane; tests have their own.
class LanePort {
 public:
  virtual ~LanePort() = default;
  // Puts a record into the task ring and wakes the worker if it sleeps. False if there is no room now.
  virtual bool post(std::span<const std::byte> record) = 0;
  // The largest record that post() could ever take.
  [[nodiscard]] virtual std::uint32_t max_record() const = 0;
};

struct LaneSizes {
  // Bytes. Sooner or later every page of a ring is touched, again and again: much larger ones would not stay in a
  // cache.
  std::uint32_t task_capacity = 1U << 20U;
  std::uint32_t done_capacity = 1U << 20U;
};

// Server's end: owns the memory and the eventfd that the worker raises when results are there and nobody looks.
class ServerLane final : public LanePort {
 public:
  static Result<std::unique_ptr<ServerLane>> create(LaneSizes sizes = {});
  ~ServerLane() override;

  bool post(std::span<const std::byte> record) override;
  [[nodiscard]] std::uint32_t max_record() const override;

  // The oldest record of the done ring, or nothing.
  [[nodiscard]] Result<std::optional<std::span<const std::byte>>> peek();
  void release();
  // Arms the wake-up: true when the done ring is empty and the worker will raise event_fd() for the next record; false
  // when a record has come: drain again.
  bool arm();

  [[nodiscard]] int event_fd() const;   // readable when records wait; inherited by the worker
  [[nodiscard]] int memory_fd() const;  // inherited by the worker

 private:
  struct Impl;
  explicit ServerLane(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Worker's end.
class WorkerLane {
 public:
  // Takes both descriptors. `spin_us`: how long wait() looks at the ring before it sleeps; 0 where no core is free.
  static Result<std::unique_ptr<WorkerLane>> attach(UniqueFd memory, UniqueFd event, std::uint32_t spin_us = 0);
  ~WorkerLane();

  // The next record; waits for it. Nothing after stop() or when timeout_ms (< 0: none) has passed. Valid until
  // release().
  [[nodiscard]] Result<std::optional<std::span<const std::byte>>> wait(int timeout_ms);
  void release();
  // Puts a record into the done ring, raising the eventfd if the server does not look; waits while the ring is full.
  // InvalidArgument for a record that never fits.
  [[nodiscard]] Status post(std::span<const std::byte> record);
  // Any thread: wait() returns nothing from now on.
  void stop();

 private:
  struct Impl;
  explicit WorkerLane(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir
