#include "worker/private_view.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "base/unique_fd.h"

namespace servoir {
namespace {

using Changes = PrivateView::Changes;

class PrivateViewTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kBytes = 1U << 20U;

  void SetUp() override {
    fd_ = UniqueFd(::memfd_create("arena", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(fd_.get(), kBytes), 0);
    auto arena = ArenaView::map(fd_.get());
    ASSERT_TRUE(arena.ok());
    arena_.emplace(std::move(*arena));
    auto view = PrivateView::map(fd_.get());
    if (view.status().code() == Code::kUnimplemented) GTEST_SKIP() << view.status().message();
    ASSERT_TRUE(view.ok()) << view.status().message();
    view_.emplace(std::move(*view));
    std::memset(at(0), 'a', kBytes);
  }

  char* at(std::uint64_t offset) { return reinterpret_cast<char*>(*arena_->resolve(offset, 1)); }
  char* own(std::uint64_t offset) { return reinterpret_cast<char*>(*view_->resolve(offset, 1)); }
  bool settle(std::vector<PrivateView::Range> ranges, Changes changes) {
    return view_->settle(*arena_, ranges, changes);
  }

  UniqueFd fd_;
  std::optional<ArenaView> arena_;
  std::optional<PrivateView> view_;
};

TEST_F(PrivateViewTest, ShowsWhatTheArenaShows) {
  *at(5000) = 'b';
  EXPECT_EQ(*own(5000), 'b');
  *at(5000) = 'c';
  EXPECT_EQ(*own(5000), 'c');
  EXPECT_FALSE(settle({{4096, 4096}}, Changes::kKeep));
}

TEST_F(PrivateViewTest, ReadingWhatWasReadBeforeIsNoChange) {
  for (std::uint64_t i = 0; i < kBytes; i += 64) ASSERT_EQ(*own(i), 'a');
  // Page faults of other memory count as well: a sanitizer has some, but not each time.
  bool changed = true;
  for (int i = 0; i < 1000 && changed; ++i) {
    view_->watch();
    std::uint64_t sum = 0;
    for (std::uint64_t k = 0; k < kBytes; k += 64) sum += static_cast<std::uint64_t>(*own(k));
    changed = view_->changed();
    ASSERT_EQ(sum, kBytes / 64 * 'a');
  }
  EXPECT_FALSE(changed);
}

TEST_F(PrivateViewTest, AChangeIsSeenByTheArenaOnlyWhenItIsKept) {
  view_->watch();
  *own(7000) = 'x';
  EXPECT_TRUE(view_->changed());
  EXPECT_EQ(*at(7000), 'a');
  EXPECT_TRUE(settle({{6990, 20}}, Changes::kKeep));
  EXPECT_EQ(*at(7000), 'x');
  *at(7001) = 'y';
  EXPECT_EQ(*own(7001), 'y') << "the copy has been given up";
}

TEST_F(PrivateViewTest, AChangeByAnotherThreadIsSeen) {
  view_->watch();
  std::thread([this] { *own(7000) = 'x'; }).join();
  EXPECT_TRUE(view_->changed());
}

TEST_F(PrivateViewTest, ADroppedChangeIsGone) {
  *own(7000) = 'x';
  EXPECT_TRUE(settle({{6990, 20}}, Changes::kDrop));
  EXPECT_EQ(*at(7000), 'a');
  EXPECT_EQ(*own(7000), 'a');
}

TEST_F(PrivateViewTest, OnlyTheRangesAreKept) {
  std::memset(own(8192), 'x', 4096);
  *at(8192 + 200) = 'n';  // a neighbour's, written meanwhile
  EXPECT_TRUE(settle({{8192, 100}, {8192 + 300, 100}}, Changes::kKeep));
  EXPECT_EQ(*at(8192 + 99), 'x');
  EXPECT_EQ(*at(8192 + 100), 'a');
  EXPECT_EQ(*at(8192 + 200), 'n');
  EXPECT_EQ(*at(8192 + 300), 'x');
  EXPECT_EQ(*at(8192 + 400), 'a');
  EXPECT_EQ(*own(8192 + 200), 'n');
}

TEST_F(PrivateViewTest, RangesOfManyPagesOfWhichSomeChanged) {
  for (const std::uint64_t page : {1U, 2U, 17U, 100U, 254U}) *own(page * 4096 + 11) = 'x';
  EXPECT_TRUE(settle({{4000, 255 * 4096 - 4000}}, Changes::kKeep));
  std::uint64_t changed = 0;
  for (std::uint64_t i = 0; i < kBytes; ++i) changed += *at(i) == 'x' ? 1 : 0;
  EXPECT_EQ(changed, 5U);
  EXPECT_EQ(std::memcmp(at(0), own(0), kBytes), 0);
  EXPECT_FALSE(settle({{0, kBytes}}, Changes::kKeep));
}

TEST_F(PrivateViewTest, ARangeOutsideOfTheArenaIsRefused) {
  EXPECT_FALSE(view_->resolve(kBytes - 1, 2).ok());
  EXPECT_FALSE(view_->resolve(UINT64_MAX, 2).ok());
  EXPECT_TRUE(view_->resolve(kBytes, 0).ok());
}

}  // namespace
}  // namespace servoir
