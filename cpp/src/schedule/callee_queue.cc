#include "schedule/callee_queue.h"

#include <algorithm>
#include <functional>

namespace servoir {
namespace {

// Groups that are empty are kept up to this number: a queue that runs empty after each batch makes no new one each
// time.
constexpr std::size_t kKeptGroups = 16;
// Inputs without batch dimension up to this size are compared; larger ones never share a batch between requests.
constexpr std::uint64_t kComparedBytes = 4096;

constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15U + (hash << 6U) + (hash >> 2U);
  return hash * 0xFF51AFD7ED558CCDU;
}

std::uint64_t hash_of(const InputForm& form) {
  std::uint64_t hash = mix(static_cast<std::uint64_t>(form.dtype), form.row_shape.rank);
  for (const std::int64_t dim : form.row_shape.view()) hash = mix(hash, static_cast<std::uint64_t>(dim));
  return hash;
}

const TensorRef& input_of(const Request& request, std::uint32_t stage, std::uint32_t instance, std::uint32_t input) {
  return request.at(request.method->spec->stages[stage].inputs[input], instance);
}

// Whether a tensor of this shape can be the port's row: equal where the port is static.
bool conforms(const Shape& shape, const Shape& port) {
  if (shape.rank != port.rank) return false;
  for (std::uint32_t i = 0; i < shape.rank; ++i) {
    if (port.dims[i] != kDynamic && port.dims[i] != shape.dims[i]) return false;
  }
  return true;
}

bool static_port(const PortSpec& port) { return port.rank_known && !port.row_shape.dynamic(); }

bool wants_to_run(const Request& request, std::uint32_t instance) {
  return !request.progress.answered && request.errors[instance].ok();
}

}  // namespace

Status CalleeQueue::check_instance(const Request& request, std::uint32_t stage, std::uint32_t instance) const {
  if (spec_->kind == CalleeSpec::Kind::kFunction) return Status::Ok();
  for (std::uint32_t i = 0; i < spec_->inputs; ++i) {
    const TensorRef& tensor = input_of(request, stage, instance, i);
    const PortSpec& port = spec_->input_ports[i];
    const bool any = port.dtype == DataType::kUnknown;
    const auto refuse = [&](const std::string& wanted) {
      const std::string type = any ? "numbers" : std::string(name_of(port.dtype));
      return Status::InvalidArgument("input " + std::to_string(i) + " '" + port.name + "' of the model has to be " +
                                     type + " " + wanted + "; given " + std::string(name_of(tensor.dtype)) + " " +
                                     tensor.shape.text() + " of " + std::to_string(tensor.bytes) + " bytes");
    };
    const std::string shape_text = port.rank_known ? port.row_shape.text() : "of any shape";
    if (any ? is_text(tensor.dtype) : tensor.dtype != port.dtype) return refuse(shape_text);
    if (is_text(port.dtype) || !port.rank_known) continue;
    if (static_port(port)) {
      // The contract: size in bytes decides, not shape.
      const Result<std::uint64_t> bytes = port.row_shape.byte_size(tensor.dtype);
      if (!bytes.ok()) return bytes.status();
      if (tensor.bytes != *bytes) return refuse(shape_text + " of " + std::to_string(*bytes) + " bytes");
    } else if (!conforms(tensor.shape, port.row_shape)) {
      return refuse(shape_text);
    }
  }
  return Status::Ok();
}

InputForm CalleeQueue::form_of(const Request& request, std::uint32_t stage, std::uint32_t instance,
                               std::uint32_t input) const {
  const TensorRef& tensor = input_of(request, stage, instance, input);
  if (spec_->kind == CalleeSpec::Kind::kModel && static_port(spec_->input_ports[input])) {
    return {tensor.dtype, spec_->input_ports[input].row_shape};
  }
  return {tensor.dtype, tensor.shape};
}

std::string CalleeQueue::unbatched_bytes(const Request& request, std::uint32_t stage, std::uint32_t instance) const {
  std::string bytes;
  if (spec_->kind == CalleeSpec::Kind::kFunction) return bytes;
  for (std::uint32_t i = 0; i < spec_->inputs; ++i) {
    if (spec_->input_ports[i].batched) continue;
    const TensorRef& tensor = input_of(request, stage, instance, i);
    if (tensor.bytes <= kComparedBytes) {
      bytes.append(reinterpret_cast<const char*>(tensor.data()), tensor.bytes);
    } else {
      bytes.append(std::to_string(reinterpret_cast<std::uintptr_t>(tensor.data())));  // one tensor: equal to itself
    }
    bytes.push_back('\0');
  }
  return bytes;
}

CalleeQueue::Group* CalleeQueue::group_for(const Request& request, std::uint32_t stage, std::uint32_t instance) {
  std::uint64_t hash = 0;
  for (std::uint32_t i = 0; i < spec_->inputs; ++i) hash = mix(hash, hash_of(form_of(request, stage, instance, i)));
  std::string unbatched = unbatched_bytes(request, stage, instance);
  if (!unbatched.empty()) hash = mix(hash, std::hash<std::string>{}(unbatched));

  const auto [begin, end] = groups_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    Group* group = it->second.get();
    bool equal = group->unbatched == unbatched;
    for (std::uint32_t i = 0; equal && i < spec_->inputs; ++i) {
      equal = group->inputs[i] == form_of(request, stage, instance, i);
    }
    if (equal) return group;
  }
  auto group = std::make_unique<Group>();
  group->hash = hash;
  group->unbatched = std::move(unbatched);
  for (std::uint32_t i = 0; i < spec_->inputs; ++i) group->inputs.push_back(form_of(request, stage, instance, i));
  return groups_.emplace(hash, std::move(group))->second.get();
}

void CalleeQueue::push(const std::shared_ptr<Request>& request, std::uint32_t stage, std::uint32_t first,
                       std::uint32_t count, Clock::time_point now, std::uint64_t order) {
  std::uint32_t begin = first;
  while (begin < first + count) {
    Group* group = group_for(*request, stage, begin);
    std::uint32_t end = begin + 1;
    while (end < first + count && group_for(*request, stage, end) == group) ++end;
    const bool was_empty = group->spans.empty();
    // Orders are unique within a queue: a request's spans are numbered by their first instance in the low bits.
    group->spans.push_back({request, stage, begin, end - begin, now, order + (begin - first)});
    group->waiting += end - begin;
    waiting_ += end - begin;
    if (was_empty) by_age_.emplace(group->oldest().order, group);
    begin = end;
  }
}

void CalleeQueue::put_back(const std::vector<Span>& spans) {
  for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
    Group* group = group_for(*span->request, span->stage, span->first);
    if (!group->spans.empty()) by_age_.erase(group->oldest().order);
    // Not simply to the front: another batch of the same group may have come back before.
    const auto place = std::find_if(group->spans.begin(), group->spans.end(),
                                    [&](const Span& other) { return other.order > span->order; });
    group->spans.insert(place, *span);
    group->waiting += span->count;
    waiting_ += span->count;
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
      std::uint32_t skip = 0;
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
      waiting_ -= skip + run;
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
      waiting_ -= span.count;
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
  waiting_ = 0;
  return requests;
}

}  // namespace servoir
