#include "metrics/registry.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace servoir::metrics {
namespace {

// In the order of their names, so that the same labels are the same text however they were put together.
std::shared_ptr<const LabelSet> label_set(Labels labels) {
  std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.name.text < b.name.text; });
  auto set = std::make_shared<LabelSet>();
  for (const Label& label : labels) {
    if (!set->text.empty()) set->text += ',';
    set->text += label.name.text;
    set->text += "=\"";
    for (const char c : label.value) {
      if (c == '\n') {
        set->text += "\\n";
        continue;
      }
      if (c == '\\' || c == '"') set->text += '\\';
      set->text += c;
    }
    set->text += '"';
  }
  set->labels = std::move(labels);
  return set;
}

Labels joined(const Labels& labels, std::initializer_list<Label> more) {
  Labels all = labels;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

bool has(const Sample& sample, const std::pair<std::string_view, std::string_view>& wanted) {
  const Labels& labels = sample.labels->labels;
  return std::any_of(labels.begin(), labels.end(), [&](const Label& label) {
    return label.name.text == wanted.first && label.value == wanted.second;
  });
}

}  // namespace

double Snapshot::total(std::string_view name,
                       std::initializer_list<std::pair<std::string_view, std::string_view>> labels) const {
  double sum = 0;
  for (const Family& family : families) {
    if (family.name != name) continue;
    for (const Sample& sample : family.samples) {
      if (std::all_of(labels.begin(), labels.end(), [&](const auto& wanted) { return has(sample, wanted); })) {
        sum += sample.value;
      }
    }
  }
  return sum;
}

Registry::~Registry() {
  for (const auto& [name, group] : groups_) {
    SERVOIR_ERROR("the registry of figures is destroyed before the figure '" + name + "'");
  }
}

Snapshot Registry::snapshot() const {
  Snapshot all;
  const MutexLock lock(&mutex_);
  all.families.reserve(groups_.size());
  for (const auto& [name, group] : groups_) {
    Family& family = all.families.emplace_back();
    family.name = name;
    family.help = group.help;
    family.unit = group.unit;
    family.kind = group.kind;
    for (const std::uint64_t bound : group.bounds) {
      family.bounds.push_back(shown(static_cast<double>(bound), group.unit));
    }
    family.samples.reserve(group.series.size());
    for (const auto& [text, series] : group.series) {
      Sample& sample = family.samples.emplace_back();
      sample.labels = series.labels;
      if (group.kind == Kind::kHistogram) sample.buckets.resize(group.bounds.size() + 1);
      for (const Source* source : series.sources) source->add_to(&sample);
      sample.value = shown(sample.value, group.unit);
    }
  }
  return all;
}

Scope::Scope(Registry* registry, std::initializer_list<Label> labels)
    : registry_(registry), labels_(label_set(Labels(labels))) {}

Scope::Scope(const Scope& scope, std::initializer_list<Label> more)
    : registry_(scope.registry_), labels_(label_set(joined(scope.labels_->labels, more))) {}

Entry::Entry(const Scope& scope, const About& about, Kind kind, std::span<const std::uint64_t> bounds,
             std::initializer_list<Label> more, const Source* source)
    : name_(about.name),
      labels_(more.size() == 0 ? scope.labels_ : label_set(joined(scope.labels_->labels, more))),
      source_(source) {
  for (std::size_t i = 1; i < labels_->labels.size(); ++i) {
    const std::string_view label = labels_->labels[i].name.text;
    if (label != labels_->labels[i - 1].name.text) continue;
    SERVOIR_ERROR("the figure '" + std::string(name_) + "' has the label '" + std::string(label) +
                  "' twice; it is not shown");
    return;
  }
  Registry* const registry = scope.registry_;
  const MutexLock lock(&registry->mutex_);
  auto& groups = registry->groups_;
  auto found = groups.find(name_);
  if (found == groups.end()) {
    found = groups
                .emplace(name_,
                         Registry::Group{std::string(about.help), about.unit, kind, {bounds.begin(), bounds.end()}, {}})
                .first;
  }
  Registry::Group& group = found->second;
  if (group.kind != kind || group.unit != about.unit || group.help != about.help ||
      !std::equal(group.bounds.begin(), group.bounds.end(), bounds.begin(), bounds.end())) {
    SERVOIR_ERROR("the figure '" + std::string(name_) +
                  "' is declared a second time with another kind, unit, help or buckets; the second is not shown");
    return;
  }
  Registry::Series& series = group.series[labels_->text];
  if (series.labels == nullptr) series.labels = labels_;
  series.sources.push_back(source);
  registry_ = registry;
}

Entry::~Entry() {
  if (registry_ == nullptr) return;
  const MutexLock lock(&registry_->mutex_);
  const auto group = registry_->groups_.find(name_);
  const auto series = group->second.series.find(labels_->text);
  std::erase(series->second.sources, source_);
  if (!series->second.sources.empty()) return;
  group->second.series.erase(series);
  if (group->second.series.empty()) registry_->groups_.erase(group);
}

}  // namespace servoir::metrics
