#include "request/flow.h"

#include <utility>

namespace servoir {

void flow_start(Request* request, std::vector<ReadyRun>* ready) {
  const MethodSpec& spec = *request->method->spec;
  const std::uint32_t n = request->instances;
  Request::Progress& progress = request->progress;
  const auto stages = static_cast<std::uint32_t>(spec.stages.size());
  progress.pending.assign(n, stages);
  progress.open = stages == 0 ? 0 : n;
  for (std::uint32_t s = 0; s < stages; ++s) {
    std::uint32_t missing = 0;
    for (const std::uint32_t value : spec.stages[s].inputs) missing += value >= spec.inputs.size() ? 1U : 0U;
    if (missing == 0) {
      ready->push_back({s, 0, n});
      continue;
    }
    progress.missing.resize(static_cast<std::size_t>(stages) * n);
    for (std::uint32_t i = 0; i < n; ++i) progress.missing[static_cast<std::size_t>(s) * n + i] = missing;
  }
}

void flow_stage_done(Request* request, std::uint32_t stage, std::uint32_t first, std::uint32_t count,
                     std::vector<ReadyRun>* ready) {
  const StageSpec& done = request->method->spec->stages[stage];
  const std::uint32_t n = request->instances;
  Request::Progress& progress = request->progress;
  for (std::uint32_t i = first; i < first + count; ++i) {
    if (request->errors[i].ok() && --progress.pending[i] == 0) --progress.open;
  }
  for (std::uint32_t value = done.first_output; value < done.first_output + done.outputs; ++value) {
    for (const Consumer& consumer : request->method->consumers[value]) {
      std::uint32_t* missing = &progress.missing[static_cast<std::size_t>(consumer.stage) * n];
      std::uint32_t run = 0;
      for (std::uint32_t i = first; i < first + count; ++i) {
        if (request->errors[i].ok() && --missing[i] == 0) {
          ++run;
        } else if (run > 0) {
          ready->push_back({consumer.stage, i - run, run});
          run = 0;
        }
      }
      if (run > 0) ready->push_back({consumer.stage, first + count - run, run});
    }
  }
}

void flow_fail(Request* request, std::uint32_t instance, Status why) {
  if (!request->errors[instance].ok()) return;
  request->errors[instance] = std::move(why);
  // A finished instance has no stage left, so it cannot fail any more.
  if (request->progress.pending[instance] != 0) --request->progress.open;
}

}  // namespace servoir
