// Snapshot: what a registry's figures show at one moment. A plain value, of its own memory.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/about.h"

namespace servoir::metrics {

// The labels of one or many figures, and the same as they stand in the text form: `servable="a",version="1"`.
struct LabelSet {
  Labels labels;
  std::string text;
};

struct Sample {
  std::shared_ptr<const LabelSet> labels;  // never null
  double value = 0;                        // of a counter or gauge; of a histogram, the sum of what it recorded
  std::vector<std::uint64_t> buckets;      // of a histogram: how many it recorded in each of them, the open one last
};

// All figures of one name.
struct Family {
  std::string name;
  std::string help;
  Unit unit = Unit::kNone;
  Kind kind = Kind::kCounter;
  std::vector<double> bounds;   // of a histogram: the largest value of each bucket but the open one
  std::vector<Sample> samples;  // ordered by their labels
};

struct Snapshot {
  std::vector<Family> families;  // ordered by name

  // The sum over the samples that have these labels (all samples without any); 0 when there is none.
  [[nodiscard]] double total(std::string_view name,
                             std::initializer_list<std::pair<std::string_view, std::string_view>> labels = {}) const;
};

}  // namespace servoir::metrics
