#include "schedule/group_queue.h"

#include <algorithm>
#include <utility>

namespace servoir {
namespace {

// So many empty groups are kept, so that a queue that runs empty after each batch does not make a new group each time.
constexpr std::size_t kKeptGroups = 16;
// Instances of a sender's turn: a batch, unless that is so large that others would wait long.
constexpr std::uint32_t kMostInTurn = 64;

// Appends an instance of the span; to the last span where it follows that. A span of a single instance is moved.
void append(Span& span, std::uint32_t at, std::vector<Span>* taken) {
  if (!taken->empty()) {
    Span& last = taken->back();
    if (last.request == span.request && last.stage == span.stage && last.first + last.count == span.first + at) {
      ++last.count;
      return;
    }
  }
  taken->push_back(span.count == 1 ? std::move(span) : part_of(span, at, 1));
}

}  // namespace

GroupQueue::GroupQueue(const CalleeSpec* spec) : spec_(spec), rounds_(std::clamp(spec->max_batch, 1U, kMostInTurn)) {}

GroupQueue::Group* GroupQueue::full(std::uint64_t rows) const {
  if (waiting_ < rows) return nullptr;
  const auto found = std::find_if(by_turn_.begin(), by_turn_.end(),
                                  [rows](const auto& filed) { return filed.second->waiting >= rows; });
  return found == by_turn_.end() ? nullptr : found->second;
}

GroupQueue::Group* GroupQueue::find(const Form& form) const {
  const auto [begin, end] = groups_.equal_range(form.hash);
  const auto found = std::find_if(begin, end, [&](const auto& group) { return group.second->form == form; });
  return found == end ? nullptr : found->second.get();
}

GroupQueue::Group* GroupQueue::group_for(const Request& request, const AlikeRun& run) {
  const auto [begin, end] = groups_.equal_range(run.hash);
  for (auto it = begin; it != end; ++it) {
    const Form& form = it->second->form;
    bool equal = form.unbatched == run.unbatched;
    for (std::uint32_t i = 0; equal && i < spec_->inputs; ++i) {
      equal = form.inputs[i] == form_of(*spec_, request, run.stage, run.first, i);
    }
    if (equal) return it->second.get();
  }
  auto group = std::make_unique<Group>();
  group->form = {run.hash, {}, run.unbatched};
  for (std::uint32_t i = 0; i < spec_->inputs; ++i) {
    group->form.inputs.push_back(form_of(*spec_, request, run.stage, run.first, i));
  }
  return groups_.emplace(run.hash, std::move(group))->second.get();
}

void GroupQueue::add(Group* group, Span span) {
  const Turn turn = span.turn;
  const bool first = group->spans.empty() || turn < group->first().turn;
  if (first && !group->spans.empty()) by_turn_.erase(group->first().turn);
  if (first) by_turn_.emplace(turn, group);
  group->waiting += span.count;
  waiting_ += span.count;
  group->spans.insert(group->spans.end(), std::move(span));
}

void GroupQueue::push(const std::shared_ptr<Request>& request, const AlikeRun& run, Clock::time_point now,
                      std::uint64_t order) {
  const std::uint64_t round = rounds_.join(request->info.sender, run.count);
  add(group_for(*request, run), {request, run.stage, run.first, run.count, now, {round, order}, 0});
}

void GroupQueue::put_back(const Span& span) {
  rounds_.come_back(span.request->info.sender, span.count);
  add(group_for(*span.request, run_of(*spec_, *span.request, span.stage, span.first)), span);
}

void GroupQueue::gone(Group* group, const void* sender, std::uint32_t count) {
  group->waiting -= count;
  waiting_ -= count;
  rounds_.leave(sender, count);
}

void GroupQueue::refile(Group* group, Turn old) {
  by_turn_.erase(old);
  if (!group->spans.empty()) {
    by_turn_.emplace(group->first().turn, group);
    return;
  }
  if (groups_.size() <= kKeptGroups) return;
  const auto [begin, end] = groups_.equal_range(group->form.hash);
  groups_.erase(std::find_if(begin, end, [&](const auto& kept) { return kept.second.get() == group; }));
}

void GroupQueue::take(Group* group, std::uint64_t rows, const TooLate& too_late, std::vector<Span>* taken,
                      std::vector<Span>* late) {
  if (group->spans.empty()) return;
  const Turn old = group->first().turn;
  while (rows > 0 && !group->spans.empty()) {
    auto node = group->spans.extract(group->spans.begin());
    Span& span = node.value();
    const void* const sender = span.request->info.sender;
    if (too_late && too_late(span)) {
      gone(group, sender, span.count);
      late->push_back(std::move(span));
      continue;
    }
    const std::uint64_t most = std::min<std::uint64_t>(rows, rounds_.turn() - span.taken % rounds_.turn());
    std::uint64_t run = 0;
    std::uint32_t seen = span.request->progress.answered ? span.count : 0;
    for (; seen < span.count && run < most; ++seen) {
      if (!wants_to_run(*span.request, span.first + seen)) continue;
      append(span, seen, taken);
      ++run;
    }
    rows -= run;
    gone(group, sender, seen);
    if (seen == span.count) continue;
    // The rest waits for the sender's next turn, if this one has been used up.
    span.turn.round += (span.taken % rounds_.turn() + seen) / rounds_.turn();
    span = part_of(span, seen, span.count - seen);
    group->spans.insert(std::move(node));
  }
  refile(group, old);
}

void GroupQueue::sweep() {
  std::vector<Group*> groups;
  groups.reserve(by_turn_.size());
  for (const auto& [turn, group] : by_turn_) groups.push_back(group);
  for (Group* group : groups) {
    const Turn old = group->first().turn;
    std::erase_if(group->spans, [&](const Span& span) {
      if (!span.request->progress.answered) return false;
      gone(group, span.request->info.sender, span.count);
      return true;
    });
    refile(group, old);
  }
}

void GroupQueue::clear(std::vector<std::shared_ptr<Request>>* requests) {
  for (const auto& [turn, group] : by_turn_) {
    for (const Span& span : group->spans) requests->push_back(span.request);
  }
  groups_.clear();
  by_turn_.clear();
  waiting_ = 0;
  rounds_ = Rounds(rounds_.turn());
}

}  // namespace servoir
