// Flow: how the instances of a request move from stage to stage.
//
// It only keeps Request::progress: which stages are ready, and which instances are finished. It is used under the
// scheduler's lock only.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "request/request.h"

namespace servoir {

// Consecutive instances that have all inputs of a stage.
struct ReadyRun {
  std::uint32_t stage = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// Sets up the progress, and appends the stages that need inputs of the method only.
void flow_start(Request* request, std::vector<ReadyRun>* ready);
// The stage has run for these instances, and the outputs of those that did not fail are in the values. Appends what has
// become ready.
void flow_stage_done(Request* request, std::uint32_t stage, std::uint32_t first, std::uint32_t count,
                     std::vector<ReadyRun>* ready);
// The instance has failed, so its other stages no longer count. The first failure of an instance is kept.
void flow_fail(Request* request, std::uint32_t instance, Status why);
// Whether every instance has its outputs or an error.
[[nodiscard]] inline bool flow_finished(const Request& request) { return request.progress.open == 0; }

}  // namespace servoir
