// The steps for batches with which a worker died.
#include "schedule/version_scheduler.h"

namespace servoir {

void VersionScheduler::fail_instances(const Span& span, Code code, std::string_view text, Deferred* later) {
  Request& request = *span.request;
  if (request.progress.answered) return;
  for (std::uint32_t i = span.first; i < span.first + span.count; ++i) {
    flow_fail(&request, i, stage_failure(request, span.stage, code, text));
  }
  if (flow_finished(request)) answer(span.request, later);
}

void VersionScheduler::put_back(CalleeState* callee, RunningTask* task) {
  if (task->deaths > 0) {
    callee->suspects.put_back({std::move(task->spans), task->deaths});
    has_suspects_ = true;
  } else {
    callee->queue.put_back(task->spans);
  }
  mark_ready(callee);
}

bool VersionScheduler::died_with(RunningTask* task, const LaneState& lane, std::string_view reason, bool by_itself,
                                 Deferred* later) {
  CalleeState& callee = *callees_[task->callee];
  std::string text = lane.name + " died while it ran this: ";
  text += reason;
  using Evidence = Suspects::Evidence;
  const Evidence evidence = task->rows > 1 || lane.beside ? Evidence::kNone
                            : by_itself                   ? Evidence::kProof
                                                          : Evidence::kSome;
  if (!callee.queue.spec().rerun) {
    text += " (it is not run again, because the stage says rerun=False)";
    for (const Span& span : task->spans) fail_instances(span, Code::kUnavailable, text, later);
    return evidence == Evidence::kProof;
  }
  const auto guilty = callee.suspects.died({std::move(task->spans), task->deaths}, evidence, later->now);
  if (guilty) {
    text += evidence == Evidence::kNone
                ? " (" + std::to_string(task->deaths + 1) + " workers have died with this instance)"
            : task->deaths == 0 ? " (and nothing else)"
            : task->deaths == 1 ? " (the second worker that died with this request)"
                                : " (" + std::to_string(task->deaths + 1) +
                                      " workers have died with this instance, the last while it ran nothing else)";
    fail_instances(*guilty, Code::kUnavailable, text, later);
  }
  has_suspects_ = true;
  mark_ready(&callee);
  return guilty.has_value();
}

void VersionScheduler::refuse_deadly(CalleeState* callee, std::vector<Span>* spans, Deferred* later) {
  if (!callee->suspects.remembers(later->now)) return;
  for (const Span& span : *spans) {
    for (std::uint32_t i = span.first; i < span.first + span.count; ++i) {
      if (!callee->suspects.is_deadly(*span.request, span.stage, i)) continue;
      fail_instances(part_of(span, i - span.first, 1), Code::kUnavailable,
                     "workers have just died of an instance with the same values, so this one is not run", later);
    }
  }
  *spans = those_wanted(*spans);
}

}  // namespace servoir
