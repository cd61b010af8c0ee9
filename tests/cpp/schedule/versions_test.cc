#include "schedule/versions.h"

#include <gtest/gtest.h>

#include <string>

#include "servable_fixture.h"

namespace servoir {
namespace {

class VersionTableTest : public ::testing::Test {
 protected:
  const VersionTable::Version& publish(std::uint64_t version, const std::string& name = "s") {
    ServableSpec spec;
    spec.name = name;
    spec.version = version;
    spec.callees = {function_callee("f", 1, 1, 1)};
    spec.methods = {chain("m", {0}), chain("l", {0, 0})};
    const Result<VersionTable::Version*> published = table.publish(std::move(spec));
    EXPECT_TRUE(published.ok()) << published.status().message();
    return **published;
  }

  const VersionTable::Version& run(std::uint64_t version, const std::string& name = "s") {
    const VersionTable::Version& published = publish(version, name);
    table.start(published.id);
    return published;
  }

  // The version that a request gets, 0 if it gets none.
  std::uint64_t given(std::uint64_t version = 0, const std::string& name = "s") const {
    const auto found = table.find(name, version, "m");
    return found.ok() ? (*found)->servable->version : 0;
  }

  std::string refusal(std::uint64_t version = 0, const std::string& name = "s", const std::string& method = "m",
                      Code code = Code::kUnavailable) const {
    const auto found = table.find(name, version, method);
    EXPECT_FALSE(found.ok());
    EXPECT_EQ(found.status().code(), code) << found.status().message();
    return std::string(found.status().message());
  }

  VersionTable table;
};

TEST_F(VersionTableTest, StatesFollowTheCalls) {
  const VersionTable::Version& one = publish(1);
  EXPECT_EQ(one.state, VersionState::kStarting);
  EXPECT_NE(one.id, 0U);
  EXPECT_EQ(one.methods.size(), 2U);
  EXPECT_EQ(one.methods[0]->servable_id, one.id);
  table.start(one.id);
  EXPECT_EQ(one.state, VersionState::kAvailable);
  table.start(one.id);
  EXPECT_EQ(one.state, VersionState::kAvailable);
  table.retire(one.id);
  EXPECT_EQ(one.state, VersionState::kRetired);
  table.start(one.id);
  EXPECT_EQ(one.state, VersionState::kRetired) << "a worker that is started again does not bring it back";
}

TEST_F(VersionTableTest, ANumberIsGivenOnce) {
  const ServableId first = run(1).id;
  table.withdraw(first, "");
  EXPECT_NE(run(1).id, first);
}

TEST_F(VersionTableTest, AnUnknownNumberChangesNothing) {
  run(1);
  table.start(99);
  table.retire(99);
  table.withdraw(99, "no reason");
  EXPECT_FALSE(table.held(99));
  EXPECT_EQ(given(), 1U);
}

TEST_F(VersionTableTest, AVersionIsThereOnce) {
  for (const bool started : {false, true}) {
    const VersionTable::Version& one = started ? run(2) : publish(1);
    ServableSpec again = *one.spec;
    const auto refused = table.publish(std::move(again));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().code(), Code::kAlreadyExists);
    EXPECT_EQ(refused.status().message(),
              "servable 's' version " + std::to_string(one.spec->version) + " is already there");
  }
}

TEST_F(VersionTableTest, AWrongSpecLeavesNothing) {
  ServableSpec spec;
  spec.name = "s";
  spec.methods = {chain("m", {0})};  // of a callee that it does not have
  const auto refused = table.publish(std::move(spec));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(refusal(), "servable 's' is not available; no servable is running yet");
  EXPECT_EQ(run(1).spec->version, 1U);
}

TEST_F(VersionTableTest, RequestsGetTheNewestThatIsAvailable) {
  EXPECT_EQ(refusal(), "servable 's' is not available; no servable is running yet");
  const VersionTable::Version& one = publish(1);
  EXPECT_EQ(refusal(), "servable 's' is not available; its workers are starting");
  EXPECT_EQ(refusal(1), "servable 's', version 1 is not available; its workers are starting");
  EXPECT_EQ(refusal(2), "servable 's', version 2 is not available; no servable is running yet");
  table.start(one.id);
  const VersionTable::Version& ten = publish(10);
  EXPECT_EQ(given(), 1U);
  table.start(ten.id);
  run(9);
  EXPECT_EQ(given(), 10U);
  EXPECT_EQ(given(1), 1U);
  EXPECT_EQ(given(9), 9U);
  EXPECT_EQ(refusal(3, "s", "m", Code::kNotFound),
            "servable 's', version 3 is not available; running versions: 1, 9, 10");
}

TEST_F(VersionTableTest, WhatIsNotThereIsToldWithWhatIs) {
  run(1, "b");
  run(2, "a");
  publish(1, "c");
  EXPECT_EQ(refusal(0, "d", "m", Code::kNotFound), "servable 'd' is not available; running servables: 'a', 'b'");
  EXPECT_EQ(refusal(7, "c", "m", Code::kNotFound),
            "servable 'c', version 7 is not available; running servables: 'a', 'b'");
  EXPECT_EQ(refusal(0, "a", "n", Code::kNotFound), "servable 'a', version 2 has no method 'n'; its methods: 'm', 'l'");
}

TEST_F(VersionTableTest, ARetiredVersionGetsNoRequests) {
  const ServableId one = run(1).id;
  const ServableId two = run(2).id;
  table.retire(two);
  EXPECT_EQ(given(), 1U);
  EXPECT_EQ(refusal(2, "s", "m", Code::kNotFound), "servable 's', version 2 is not available; running versions: 1");
  table.retire(one);
  EXPECT_EQ(refusal(), "servable 's' is not available; it is being ended");
  EXPECT_EQ(refusal(2), "servable 's', version 2 is not available; it is being ended");
  EXPECT_EQ(refusal(3), "servable 's', version 3 is not available; no servable is running yet");
  table.withdraw(two, "its workers died while it was drained");
  run(3);
  table.retire(one);
  EXPECT_EQ(given(), 3U);
  EXPECT_EQ(refusal(2, "s", "m", Code::kNotFound), "servable 's', version 2 is not available; running versions: 3")
      << "nobody was to get it any more, so nobody asks for the reason";
}

TEST_F(VersionTableTest, ARetiredVersionIsHeldUntilItsLastRequest) {
  const ServableId one = run(1).id;
  EXPECT_FALSE(table.held(one));
  std::shared_ptr<const Method> request = *table.find("s", 1, "m");
  std::shared_ptr<const Method> other = *table.find("s", 0, "l");
  EXPECT_TRUE(table.held(one));
  table.retire(one);
  EXPECT_TRUE(table.held(one));
  request.reset();
  EXPECT_TRUE(table.held(one));
  other.reset();
  EXPECT_FALSE(table.held(one));
}

TEST_F(VersionTableTest, NothingOlderTakesThePlaceOfAVersionThatIsGoneForAReason) {
  run(1);
  const ServableId two = run(2).id;
  run(3);
  table.withdraw(two, "its workers keep crashing");
  EXPECT_EQ(given(), 3U);
  EXPECT_EQ(given(1), 1U);
  EXPECT_EQ(refusal(2), "servable 's', version 2 is not available: its workers keep crashing");
  const ServableId four = run(4).id;
  table.withdraw(four, "it broke");
  EXPECT_EQ(refusal(), "servable 's', version 4 is not available: it broke");
  // Until it runs again.
  const VersionTable::Version& again = publish(4);
  EXPECT_EQ(refusal(), "servable 's', version 4 is not available: it broke");
  EXPECT_EQ(refusal(4), "servable 's', version 4 is not available: it broke");
  table.withdraw(again.id, "");
  EXPECT_EQ(refusal(), "servable 's', version 4 is not available: it broke") << "it has not run meanwhile";
  run(4);
  EXPECT_EQ(given(), 4U);
}

TEST_F(VersionTableTest, AVersionThatIsTakenAwayWithoutAReasonIsForgotten) {
  run(1);
  table.withdraw(run(2).id, "");
  EXPECT_EQ(given(), 1U);
  EXPECT_EQ(refusal(2, "s", "m", Code::kNotFound), "servable 's', version 2 is not available; running versions: 1");
  table.withdraw(publish(3).id, "it never ran");
  EXPECT_EQ(given(), 1U);
}

TEST_F(VersionTableTest, MethodsLiveAsLongAsTheyAreHeld) {
  const ServableId one = run(1).id;
  const std::shared_ptr<const Method> held = *table.find("s", 1, "m");
  table.withdraw(one, "its workers keep crashing");
  EXPECT_EQ(held->servable->name, "s");
  EXPECT_EQ(held->spec->name, "m");
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace servoir
