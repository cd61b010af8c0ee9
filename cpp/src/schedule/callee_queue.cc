#include "schedule/callee_queue.h"

#include <algorithm>

namespace servoir {
namespace {

// So many empty groups are kept, so that a queue that runs empty after each batch does not make a new group each time.
constexpr std::size_t kKeptGroups = 16;

bool wants_to_run(const Request& request, std::uint32_t instance) {
  return !request.progress.answered && request.errors[instance].ok();
}

}  // namespace

std::vector<Span> those_wanted(const std::vector<Span>& spans) {
  std::vector<Span> wanted;
  for (const Span& span : spans) {
    std::uint32_t run = 0;
    for (std::uint32_t k = 0; k <= span.count; ++k) {
      if (k < span.count && wants_to_run(*span.request, span.first + k)) {
        ++run;
      } else if (run > 0) {
        wanted.push_back({span.request, span.stage, span.first + k - run, run, span.since, span.order + k - run});
        run = 0;
      }
    }
  }
  return wanted;
}

std::vector<Span> cut_off(std::vector<Span>* spans, std::uint32_t rows) {
  std::vector<Span> taken;
  auto span = spans->begin();
  for (; span != spans->end() && span->count <= rows; ++span) {
    rows -= span->count;
    taken.push_back(std::move(*span));
  }
  if (rows > 0 && span != spans->end()) {
    taken.push_back({span->request, span->stage, span->first, rows, span->since, span->order});
    span->first += rows;
    span->order += rows;
    span->count -= rows;
  }
  spans->erase(spans->begin(), span);
  return taken;
}

CalleeQueue::Group* CalleeQueue::full(std::uint64_t rows) {
  if (waiting() < rows) return nullptr;
  const auto found =
      std::find_if(by_age_.begin(), by_age_.end(), [rows](const auto& aged) { return aged.second->waiting >= rows; });
  return found == by_age_.end() ? nullptr : found->second;
}

CalleeQueue::Group* CalleeQueue::group_for(const Request& request, const AlikeRun& run) {
  const auto [begin, end] = groups_.equal_range(run.hash);
  for (auto it = begin; it != end; ++it) {
    Group* group = it->second.get();
    bool equal = group->unbatched == run.unbatched;
    for (std::uint32_t i = 0; equal && i < spec_->inputs; ++i) {
      equal = group->inputs[i] == form_of(*spec_, request, run.stage, run.first, i);
    }
    if (equal) return group;
  }
  auto group = std::make_unique<Group>();
  group->hash = run.hash;
  group->unbatched = run.unbatched;
  for (std::uint32_t i = 0; i < spec_->inputs; ++i) {
    group->inputs.push_back(form_of(*spec_, request, run.stage, run.first, i));
  }
  return groups_.emplace(run.hash, std::move(group))->second.get();
}

void CalleeQueue::push(const std::shared_ptr<Request>& request, const AlikeRun& run, Clock::time_point now,
                       std::uint64_t order) {
  Group* group = group_for(*request, run);
  group->spans.push_back({request, run.stage, run.first, run.count, now, order});
  group->waiting += run.count;
  set_waiting(waiting() + run.count);
  if (group->spans.size() == 1) by_age_.emplace(order, group);
}

void CalleeQueue::put_back(const std::vector<Span>& spans) {
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    Group* group = group_for(*span->request, run_of(*spec_, *span->request, span->stage, span->first));
    if (!group->spans.empty()) by_age_.erase(group->oldest().order);
    // Not always at the front: another batch of the same group may have come back before.
    const auto place = std::find_if(group->spans.begin(), group->spans.end(),
                                    [&](const Span& other) { return other.order > span->order; });
    group->spans.insert(place, *span);
    group->waiting += span->count;
    set_waiting(waiting() + span->count);
    by_age_.emplace(group->oldest().order, group);
  }
}

void CalleeQueue::aged(Group* group, std::uint64_t old_order) {
  by_age_.erase(old_order);
  if (!group->spans.empty()) {
    by_age_.emplace(group->oldest().order, group);
    return;
  }
  if (groups_.size() <= kKeptGroups) return;
  const auto [begin, end] = groups_.equal_range(group->hash);
  for (auto it = begin; it != end; ++it) {
    if (it->second.get() == group) {
      groups_.erase(it);
      return;
    }
  }
}

std::vector<Span> CalleeQueue::take(Group* group, std::uint64_t rows) {
  std::vector<Span> taken;
  if (group->spans.empty()) return taken;
  const std::uint64_t old_order = group->oldest().order;
  while (rows > 0 && !group->spans.empty()) {
    Span& span = group->spans.front();
    while (span.count > 0 && rows > 0) {
      // The next run of instances that still want to run.
      std::uint32_t skip = span.request->progress.answered ? span.count : 0;
      while (skip < span.count && !wants_to_run(*span.request, span.first + skip)) ++skip;
      std::uint32_t run = 0;
      while (skip + run < span.count && run < rows && wants_to_run(*span.request, span.first + skip + run)) ++run;
      if (run > 0) {
        taken.push_back({span.request, span.stage, span.first + skip, run, span.since, span.order + skip});
        rows -= run;
      }
      span.first += skip + run;
      span.order += skip + run;
      span.count -= skip + run;
      group->waiting -= skip + run;
      set_waiting(waiting() - (skip + run));
    }
    if (span.count == 0) group->spans.pop_front();
  }
  aged(group, old_order);
  return taken;
}

void CalleeQueue::sweep() {
  std::vector<Group*> groups;
  groups.reserve(by_age_.size());
  for (const auto& [order, group] : by_age_) groups.push_back(group);
  for (Group* group : groups) {
    const std::uint64_t old_order = group->oldest().order;
    std::erase_if(group->spans, [&](const Span& span) {
      if (!span.request->progress.answered) return false;
      group->waiting -= span.count;
      set_waiting(waiting() - span.count);
      return true;
    });
    aged(group, old_order);
  }
}

std::vector<std::shared_ptr<Request>> CalleeQueue::clear() {
  std::vector<std::shared_ptr<Request>> requests;
  for (const auto& [order, group] : by_age_) {
    for (Span& span : group->spans) requests.push_back(std::move(span.request));
  }
  groups_.clear();
  by_age_.clear();
  set_waiting(0);
  return requests;
}

}  // namespace servoir
