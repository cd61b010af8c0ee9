// Flow: how the instances of a request move from stage to stage.
//
// Pure bookkeeping on Request::progress: which stages are ready, which instances are finished. Under the scheduler's
// lock.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "schedule/request.h"

namespace servoir {

// Consecutive instances that have all inputs of a stage.
struct ReadyRun {
  std::uint32_t stage = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// Sets the progress up; appends the stages that need method inputs only.
void flow_start(Request* request, std::vector<ReadyRun>* ready);
// The stage has run for these instances; those that did not fail have its outputs in values. Appends what became ready.
void flow_stage_done(Request* request, std::uint32_t stage, std::uint32_t first, std::uint32_t count,
                     std::vector<ReadyRun>* ready);
// The instance failed: its other stages no longer count. The first failure of an instance stays.
void flow_fail(Request* request, std::uint32_t instance, Status why);
// Whether every instance has its outputs or an error.
[[nodiscard]] inline bool flow_finished(const Request& request) { return request.progress.open == 0; }

}  // namespace servoir
