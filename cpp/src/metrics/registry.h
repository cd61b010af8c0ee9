// Registry: all figures, found by name and labels, for the code that shows them.
//
// A figure is a member of the object that counts it (counter.h, histogram.h). It is listed from its construction to its
// destruction, so the figures of a servable go with the servable. A server has one registry, which outlives all figures
// that are declared in it; a process may have several. Figures of the same name and labels are shown as one, added
// together: threads that count for themselves declare a figure each, and share no cache line.
//
// Any thread may declare a figure, end it, or take a snapshot (one mutex inside). Counting never comes here.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "metrics/about.h"
#include "metrics/snapshot.h"

namespace servoir::metrics {

// What the registry reads a figure by.
class Source {
 public:
  // Adds what the figure shows to the sample, whose buckets are there. Called under the registry's lock.
  virtual void add_to(Sample* sample) const = 0;

 protected:
  ~Source() = default;
};

class Registry {
 public:
  Registry() = default;
  ~Registry();  // no figure may be left
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  [[nodiscard]] Snapshot snapshot() const;

 private:
  friend class Entry;
  struct Series {
    std::shared_ptr<const LabelSet> labels;
    std::vector<const Source*> sources;
  };
  struct Group {
    std::string help;
    Unit unit = Unit::kNone;
    Kind kind = Kind::kCounter;
    std::vector<std::uint64_t> bounds;
    std::map<std::string, Series, std::less<>> series;  // by the text of the labels
  };

  mutable Mutex mutex_;
  std::map<std::string, Group, std::less<>> groups_ SERVOIR_GUARDED_BY(mutex_);  // by name
};

// Where figures are declared: a registry, and the labels that all of them have. Needed only while they are declared.
class Scope {
 public:
  explicit Scope(Registry* registry, std::initializer_list<Label> labels = {});
  // The same with more labels.
  Scope(const Scope& scope, std::initializer_list<Label> more);

 private:
  friend class Entry;
  Registry* registry_;
  std::shared_ptr<const LabelSet> labels_;
};

// A figure's place in the registry. The last member of a figure, so that it is listed only while it is whole.
class Entry {
 public:
  Entry(const Scope& scope, const About& about, Kind kind, std::span<const std::uint64_t> bounds,
        std::initializer_list<Label> more, const Source* source);
  ~Entry();
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

 private:
  Registry* registry_ = nullptr;  // null when the figure is not listed
  const std::string_view name_;
  std::shared_ptr<const LabelSet> labels_;
  const Source* source_;
};

}  // namespace servoir::metrics
