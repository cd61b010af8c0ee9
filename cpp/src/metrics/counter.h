// Counter, Gauge and the two that are read on demand.
//
// A figure is a member of what counts it, declared in one line:
//
//   metrics::Counter batches{scope, {"servoir_callee_batches", "Batches that workers have run."}};
//
// and counted with `batches.add()`, from any thread, by one relaxed atomic addition. `scope` is the registry with the
// labels that say whose figure it is; labels that tell figures of one name apart (`{{"reason", "deadline"}}`) follow.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <utility>

#include "metrics/registry.h"

namespace servoir::metrics {

// In nanoseconds where its unit is seconds.
class Counter final : private Source {
 public:
  Counter(const Scope& scope, const About& about, std::initializer_list<Label> more = {})
      : entry_(scope, about, Kind::kCounter, {}, more, this) {}

  void add(std::uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  void add_to(Sample* sample) const override { sample->value += static_cast<double>(value()); }

  std::atomic<std::uint64_t> value_{0};
  Entry entry_;
};

// In nanoseconds where its unit is seconds.
class Gauge final : private Source {
 public:
  Gauge(const Scope& scope, const About& about, std::initializer_list<Label> more = {})
      : entry_(scope, about, Kind::kGauge, {}, more, this) {}

  void add(std::int64_t count) { value_.fetch_add(count, std::memory_order_relaxed); }
  void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  void add_to(Sample* sample) const override { sample->value += static_cast<double>(value()); }

  std::atomic<std::int64_t> value_{0};
  Entry entry_;
};

// Asks a function whenever it is looked at, for what is known without counting. The function may be called by any
// thread until the figure is destroyed. It is called under the registry's lock: it must not wait for anything that is
// held while figures are declared or destroyed.
template <Kind kind>
class Reading final : private Source {
 public:
  Reading(const Scope& scope, const About& about, std::function<double()> read, std::initializer_list<Label> more = {})
      : read_(std::move(read)), entry_(scope, about, kind, {}, more, this) {}

 private:
  void add_to(Sample* sample) const override { sample->value += read_(); }

  const std::function<double()> read_;
  Entry entry_;
};

using CounterReading = Reading<Kind::kCounter>;
using GaugeReading = Reading<Kind::kGauge>;

}  // namespace servoir::metrics
