#include "metrics/registry.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metrics/counter.h"
#include "metrics/histogram.h"

namespace servoir::metrics {
namespace {

struct Servable {
  Servable(Registry* registry, std::string name, const std::string& version)
      : scope(registry, {{"servable", std::move(name)}, {"version", version}}) {}
  Scope scope;
  Counter batches{scope, {"test_batches", "Batches that were run."}};
  Gauge queued{scope, {"test_queued", "Instances that wait."}};
  Counter late{scope, {"test_failures", "Failed instances."}, {{"reason", "deadline"}}};
  Counter wrong{scope, {"test_failures", "Failed instances."}, {{"reason", "error"}}};
};

std::vector<std::string> names(const Snapshot& snapshot) {
  std::vector<std::string> all;
  for (const Family& family : snapshot.families) all.push_back(family.name);
  return all;
}

TEST(Registry, ShowsEachFigureWithItsLabels) {
  Registry registry;
  Servable first(&registry, "first", "1");
  Servable second(&registry, "second", "7");
  first.batches.add();
  first.batches.add(4);
  second.queued.add(3);
  second.queued.add(-5);
  second.late.add(2);
  const Snapshot now = registry.snapshot();
  EXPECT_EQ(names(now), (std::vector<std::string>{"test_batches", "test_failures", "test_queued"}));
  const Family& batches = now.families[0];
  EXPECT_EQ(batches.kind, Kind::kCounter);
  EXPECT_EQ(batches.help, "Batches that were run.");
  ASSERT_EQ(batches.samples.size(), 2U);
  EXPECT_EQ(batches.samples[0].labels->text, "servable=\"first\",version=\"1\"");
  EXPECT_EQ(batches.samples[0].value, 5);
  EXPECT_EQ(batches.samples[1].value, 0);
  EXPECT_EQ(now.families[2].kind, Kind::kGauge);
  EXPECT_EQ(now.families[2].samples[1].value, -2);
  ASSERT_EQ(now.families[1].samples.size(), 4U) << "labels of a figure's own tell it from others of its name";
  EXPECT_EQ(now.families[1].samples[0].labels->text, "reason=\"deadline\",servable=\"first\",version=\"1\"");
}

TEST(Registry, AFigureLeavesWithItsOwner) {
  Registry registry;
  std::optional<Servable> first(std::in_place, &registry, "first", "1");
  {
    const Servable second(&registry, "second", "1");
    EXPECT_EQ(registry.snapshot().families[0].samples.size(), 2U);
  }
  const Snapshot now = registry.snapshot();
  ASSERT_EQ(now.families.size(), 3U);
  for (const Family& family : now.families) {
    for (const Sample& sample : family.samples) EXPECT_NE(sample.labels->text.find("first"), std::string::npos);
  }
  first.reset();
  EXPECT_TRUE(registry.snapshot().families.empty());
}

TEST(Registry, ASnapshotOutlivesItsFigures) {
  Snapshot then;
  {
    Registry registry;
    Servable servable(&registry, "gone", "1");
    servable.batches.add(9);
    then = registry.snapshot();
  }
  EXPECT_EQ(then.total("test_batches"), 9);
  EXPECT_EQ(then.families[0].samples[0].labels->labels[0].value, "gone");
}

TEST(Registry, FiguresOfTheSameNameAndLabelsAreAdded) {
  Registry registry;
  Servable one(&registry, "s", "1");
  one.batches.add(2);
  {
    Servable other(&registry, "s", "1");
    other.batches.add(40);
    const Snapshot now = registry.snapshot();
    ASSERT_EQ(now.families[0].samples.size(), 1U);
    EXPECT_EQ(now.families[0].samples[0].value, 42);
  }
  EXPECT_EQ(registry.snapshot().families[0].samples[0].value, 2);
}

TEST(Registry, TotalAddsTheSamplesWithTheseLabels) {
  Registry registry;
  Servable a1(&registry, "a", "1");
  Servable a2(&registry, "a", "2");
  Servable b1(&registry, "b", "1");
  a1.batches.add(1);
  a2.batches.add(10);
  b1.batches.add(100);
  const Snapshot now = registry.snapshot();
  EXPECT_EQ(now.total("test_batches"), 111);
  EXPECT_EQ(now.total("test_batches", {{"servable", "a"}}), 11);
  EXPECT_EQ(now.total("test_batches", {{"version", "1"}, {"servable", "b"}}), 100);
  EXPECT_EQ(now.total("test_batches", {{"servable", "c"}}), 0);
  EXPECT_EQ(now.total("test_others"), 0);
}

TEST(Registry, LabelsAreEscapedInTheirTextOnly) {
  Registry registry;
  const Servable servable(&registry, "a\"b\\c\nd", "1");
  const Snapshot now = registry.snapshot();
  EXPECT_EQ(now.families[0].samples[0].labels->text, R"(servable="a\"b\\c\nd",version="1")");
  EXPECT_EQ(now.families[0].samples[0].labels->labels[0].value, "a\"b\\c\nd");
}

TEST(Registry, AScopeCanBeNarrowed) {
  Registry registry;
  const Scope servable(&registry, {{"servable", "s"}});
  const Scope stage(servable, {{"stage", "1"}});
  const Counter figure(stage, {"test_batches", "Batches that were run."});
  EXPECT_EQ(registry.snapshot().families[0].samples[0].labels->text, "servable=\"s\",stage=\"1\"");
}

TEST(Registry, ReadingsAskWhenLookedAt) {
  Registry registry;
  const Scope scope(&registry);
  double level = 1.5;
  const GaugeReading gauge(scope, {"test_level", "How high it stands."}, [&] { return level; });
  const CounterReading time(scope, {"test_cpu_seconds", "Time of the processor.", Unit::kSeconds}, [&] { return 5e8; });
  EXPECT_EQ(registry.snapshot().total("test_level"), 1.5);
  level = 2;
  EXPECT_EQ(registry.snapshot().total("test_level"), 2);
  EXPECT_EQ(registry.snapshot().total("test_cpu_seconds"), 0.5) << "nanoseconds are shown as seconds";
  EXPECT_EQ(registry.snapshot().families[0].kind, Kind::kCounter);
  EXPECT_TRUE(registry.snapshot().families[0].samples[0].labels->labels.empty());
}

TEST(Registry, ASecondDeclarationThatDiffersIsNotShown) {
  Registry registry;
  const Scope scope(&registry);
  Counter first(scope, {"test_batches", "Batches that were run."});
  {
    Gauge of_another_kind(scope, {"test_batches", "Batches that were run."});
    of_another_kind.set(100);
    Counter of_another_help(scope, {"test_batches", "Something else."});
    of_another_help.add(100);
    EXPECT_EQ(registry.snapshot().total("test_batches"), 0);
  }
  first.add();
  EXPECT_EQ(registry.snapshot().total("test_batches"), 1) << "and its end takes nothing away";
}

TEST(Registry, AFigureWithALabelTwiceIsNotShown) {
  Registry registry;
  const Scope scope(&registry, {{"servable", "s"}});
  const Counter twice(scope, {"test_batches", "Batches that were run."}, {{"servable", "t"}});
  EXPECT_TRUE(registry.snapshot().families.empty());
}

TEST(Histogram, SortsValuesIntoBuckets) {
  Registry registry;
  static constexpr std::array<std::uint64_t, 3> kBounds = {10, 20, 40};
  Histogram sizes(Scope(&registry), {"test_sizes", "Instances of a batch."}, kBounds);
  for (const std::uint64_t value : {0U, 10U, 11U, 20U, 40U, 41U, 1000U}) sizes.record(value);
  const Snapshot now = registry.snapshot();
  const Family& family = now.families[0];
  EXPECT_EQ(family.kind, Kind::kHistogram);
  EXPECT_EQ(family.bounds, (std::vector<double>{10, 20, 40}));
  EXPECT_EQ(family.samples[0].buckets, (std::vector<std::uint64_t>{2, 2, 1, 2})) << "a bound belongs to its bucket";
  EXPECT_EQ(family.samples[0].value, 1122);
}

TEST(Histogram, OfTimesIsShownInSeconds) {
  Registry registry;
  Histogram wait(Scope(&registry), {"test_wait_seconds", "Time in the queue.", Unit::kSeconds}, kDurations);
  wait.record(250'000);
  wait.record(250'001);
  const Snapshot now = registry.snapshot();
  EXPECT_EQ(now.families[0].bounds[1], 0.00025);
  EXPECT_EQ(now.families[0].bounds.back(), 10);
  EXPECT_EQ(now.families[0].samples[0].buckets[1], 1U);
  EXPECT_EQ(now.families[0].samples[0].buckets[2], 1U);
  EXPECT_DOUBLE_EQ(now.families[0].samples[0].value, 0.000500001);
}

TEST(Histogram, OfOtherBucketsIsAnotherDeclaration) {
  Registry registry;
  Histogram first(Scope(&registry), {"test_sizes", "Instances of a batch."}, kSizes);
  Histogram second(Scope(&registry), {"test_sizes", "Instances of a batch."}, std::span(kSizes).first(4));
  second.record(1);
  EXPECT_EQ(registry.snapshot().families[0].samples[0].value, 0);
}

}  // namespace
}  // namespace servoir::metrics
