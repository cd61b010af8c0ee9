// RequestLimit: how many requests may wait for their answer, on the whole server and of one servable, and how much
// memory those of one servable may have.
//
// A servable that is alone may use all of the limit; as soon as there are others, half of it, so that a function that
// hangs does not take the places, and the memory, of every other servable. The server's count is shared by all threads,
// so a version takes places from it by the portion and keeps a few: Admission is such a version's stock.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace servoir {

// Any thread.
class RequestLimit {
 public:
  void set(std::uint64_t limit) { limit_.store(limit, std::memory_order_relaxed); }
  // What all requests may have together.
  void set_memory(std::uint64_t bytes) { memory_.store(bytes, std::memory_order_relaxed); }
  void set_servables(std::uint64_t count) { servables_.store(count, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
  // The most requests of one servable.
  [[nodiscard]] std::uint64_t share() const;
  // The most memory of the requests of one servable.
  [[nodiscard]] std::uint64_t memory_share() const;
  // How many places a version takes and gives back in one go: few enough that those it keeps unused do not matter.
  [[nodiscard]] std::uint64_t portion() const;
  // Takes at most so many places, fewer if there are fewer. Returns how many.
  [[nodiscard]] std::uint64_t take(std::uint64_t wanted);
  void give_back(std::uint64_t places) { taken_.fetch_sub(places, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> limit_{10'000};
  std::atomic<std::uint64_t> memory_{std::numeric_limits<std::uint64_t>::max()};
  std::atomic<std::uint64_t> servables_{1};
  alignas(64) std::atomic<std::uint64_t> taken_{0};
};

// The requests of a servable that wait; its versions share it. On a cache line of its own, because every request
// writes.
struct alignas(64) WaitingRequests {
  std::atomic<std::uint64_t> count{0};
  std::atomic<std::uint64_t> bytes{0};  // of those that have much
};

// Of one version, under its lock.
class Admission {
 public:
  Admission(RequestLimit* limit, std::shared_ptr<WaitingRequests> waiting)
      : limit_(limit), waiting_(std::move(waiting)) {}
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // Takes a place for a request that has so much memory; ResourceExhausted says which limit is reached.
  [[nodiscard]] Status enter(std::string_view servable, std::uint64_t bytes);
  // Gives back the place of a request that was let in.
  void leave(std::uint64_t bytes);
  // Gives back the places that are kept. Requests may still leave.
  void close();
  [[nodiscard]] const std::shared_ptr<WaitingRequests>& waiting() const { return waiting_; }

 private:
  [[nodiscard]] Status take_memory(std::string_view servable, std::uint64_t bytes);

  RequestLimit* const limit_;
  const std::shared_ptr<WaitingRequests> waiting_;
  std::uint64_t spare_ = 0;  // places taken from the limit and not used
  bool closed_ = false;
};

}  // namespace servoir
