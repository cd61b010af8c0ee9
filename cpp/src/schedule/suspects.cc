#include "schedule/suspects.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <string_view>
#include <utility>

namespace servoir {
namespace {

constexpr std::chrono::minutes kRemembered{1};
// Where a worker could not be had for an instance alone, so many deaths say enough.
constexpr std::uint32_t kMostDeaths = 6;
constexpr std::size_t kMostRemembered = 64;

std::uint64_t bytes_of(const CalleeSpec& callee, const Request& request, std::uint32_t stage, std::uint32_t instance) {
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < callee.inputs; ++i) bytes += input_of(request, stage, instance, i).bytes;
  return bytes;
}

std::uint64_t content_of(const CalleeSpec& callee, const Request& request, std::uint32_t stage,
                         std::uint32_t instance) {
  std::uint64_t hash = run_of(callee, request, stage, instance).hash;
  for (std::uint32_t i = 0; i < callee.inputs; ++i) {
    const TensorRef& tensor = input_of(request, stage, instance, i);
    const std::string_view content(reinterpret_cast<const char*>(tensor.data()), tensor.bytes);
    hash = hash * 31 + std::hash<std::string_view>{}(content);
  }
  return hash;
}

}  // namespace

Suspects::Batch Suspects::take() {
  Batch batch = std::move(batches_.front());
  batches_.pop_front();
  return batch;
}

std::optional<Span> Suspects::died(Batch batch, Evidence evidence, Clock::time_point now) {
  std::uint32_t rows = 0;
  for (const Span& span : batch.spans) rows += span.count;
  ++batch.deaths;
  if (rows > 1) {
    std::vector<Span> first = cut_off(&batch.spans, rows / 2);
    batches_.push_back({std::move(first), batch.deaths});
    batches_.push_back(std::move(batch));
    return std::nullopt;
  }
  const std::uint32_t enough = evidence == Evidence::kNone ? kMostDeaths : evidence == Evidence::kSome ? 2 : 1;
  if (batch.deaths < enough) {
    batches_.push_back(std::move(batch));
    return std::nullopt;
  }
  const Span& guilty = batch.spans.front();
  if (deadly_.size() == kMostRemembered) deadly_.pop_front();
  deadly_.push_back({bytes_of(*callee_, *guilty.request, guilty.stage, guilty.first),
                     content_of(*callee_, *guilty.request, guilty.stage, guilty.first), now + kRemembered});
  return guilty;
}

std::vector<std::shared_ptr<Request>> Suspects::clear() {
  std::vector<std::shared_ptr<Request>> requests;
  for (Batch& batch : batches_) {
    for (Span& span : batch.spans) requests.push_back(std::move(span.request));
  }
  batches_.clear();
  return requests;
}

bool Suspects::remembers(Clock::time_point now) {
  while (!deadly_.empty() && deadly_.front().until <= now) deadly_.pop_front();
  return !deadly_.empty();
}

bool Suspects::is_deadly(const Request& request, std::uint32_t stage, std::uint32_t instance) const {
  const std::uint64_t bytes = bytes_of(*callee_, request, stage, instance);
  const auto of_this_size = [bytes](const Deadly& deadly) { return deadly.bytes == bytes; };
  if (std::ranges::none_of(deadly_, of_this_size)) return false;  // most content need not be read
  const std::uint64_t hash = content_of(*callee_, request, stage, instance);
  return std::ranges::any_of(deadly_,
                             [&](const Deadly& deadly) { return of_this_size(deadly) && deadly.hash == hash; });
}

}  // namespace servoir
