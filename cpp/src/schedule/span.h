// Span: consecutive instances of one request that wait for, or run in, one stage.
//
// Spans are used under their scheduler's lock only.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "request/request.h"

namespace servoir {

// The place of a span among those that wait for the same callee with the same priority. See Rounds.
struct Turn {
  std::uint64_t round = 0;
  std::uint64_t order = 0;  // smaller is older
  auto operator<=>(const Turn&) const = default;
};

struct Span {
  std::shared_ptr<Request> request;
  std::uint32_t stage = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  Clock::time_point since{};  // when it was queued
  Turn turn;                  // of its first instance; those that follow are as many numbers younger
  std::uint32_t taken = 0;    // instances of the same turn that went before
};

// The part [from, from + count) of the span.
[[nodiscard]] Span part_of(const Span& span, std::uint32_t from, std::uint32_t count);
// The parts of the spans whose instances still want to run: they have no error, and their request is not answered.
[[nodiscard]] std::vector<Span> those_wanted(const std::vector<Span>& spans);
// Takes the first `rows` instances off the spans.
[[nodiscard]] std::vector<Span> cut_off(std::vector<Span>* spans, std::uint32_t rows);
// The number of instances.
[[nodiscard]] std::uint32_t rows_of(const std::vector<Span>& spans);
[[nodiscard]] inline bool wants_to_run(const Request& request, std::uint32_t instance) {
  return !request.progress.answered && request.errors[instance].ok();
}

}  // namespace servoir
