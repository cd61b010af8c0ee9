#include "base/status.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <limits>

#include "base/checked.h"
#include "base/unique_fd.h"

namespace servoir {
namespace {

TEST(Status, IsOnePointerAndNullWhenOk) {
  EXPECT_EQ(sizeof(Status), sizeof(void*));
  const Status ok;
  EXPECT_TRUE(ok.ok());
  EXPECT_EQ(ok.code(), Code::kOk);
  EXPECT_EQ(ok.message(), "");
}

TEST(Status, CopiesAreIndependent) {
  Status first = Status::NotFound("no servable 'x'");
  Status second = first;
  first = Status::Ok();
  EXPECT_TRUE(first.ok());
  EXPECT_EQ(second.code(), Code::kNotFound);
  EXPECT_EQ(second.message(), "no servable 'x'");
  second = *&second;
  EXPECT_EQ(second.message(), "no servable 'x'");
}

TEST(Status, FromErrnoTellsExhaustionFromOtherFailures) {
  for (const int value : {ENOMEM, ENOSPC, EMFILE, ENFILE}) {
    EXPECT_EQ(Status::FromErrno("opening", value).code(), Code::kResourceExhausted);
  }
  const Status other = Status::FromErrno("opening 'x'", ENOENT);
  EXPECT_EQ(other.code(), Code::kInternal);
  EXPECT_EQ(other.message(), "opening 'x': No such file or directory");
}

Result<int> half(int n) {
  if (n % 2 != 0) return Status::InvalidArgument("odd");
  return n / 2;
}
Result<int> quarter(int n) {
  SERVOIR_ASSIGN_OR_RETURN(const int once, half(n));
  SERVOIR_ASSIGN_OR_RETURN(const int twice, half(once));
  return twice;
}
Status check(int n) {
  SERVOIR_RETURN_IF_ERROR(quarter(n).status());
  return Status::Ok();
}

TEST(Result, CarriesValueOrStatusThroughTheMacros) {
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_TRUE(quarter(12).status().ok());
  EXPECT_EQ(quarter(6).status().message(), "odd");
  EXPECT_TRUE(check(8).ok());
  EXPECT_EQ(check(7).code(), Code::kInvalidArgument);
}

TEST(Result, HoldsWhatCanOnlyBeMoved) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  const std::unique_ptr<int> moved = std::move(result).value();
  EXPECT_EQ(*moved, 7);
}

TEST(Checked, RefusesWhatWraps) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t out = 0;
  EXPECT_TRUE(checked_add(kMost - 1, 1, &out));
  EXPECT_EQ(out, kMost);
  EXPECT_FALSE(checked_add(kMost, 1, &out));
  EXPECT_TRUE(checked_mul(1ULL << 32U, (1ULL << 32U) - 1, &out));
  EXPECT_FALSE(checked_mul(1ULL << 32U, 1ULL << 32U, &out));
  EXPECT_TRUE(within(10, 0, 10));
  EXPECT_TRUE(within(2, 8, 10));
  EXPECT_FALSE(within(3, 8, 10));
  EXPECT_FALSE(within(11, 0, 10));
  EXPECT_FALSE(within(kMost, 2, 10));
  EXPECT_FALSE(within(2, kMost, 10));
  EXPECT_EQ(round_up(0, 64), 0U);
  EXPECT_EQ(round_up(1, 64), 64U);
  EXPECT_EQ(round_up(64, 64), 64U);
}

bool is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }

TEST(UniqueFd, ClosesOnceAndMoves) {
  int raw = -1;
  {
    UniqueFd first(open("/dev/null", O_RDONLY | O_CLOEXEC));
    raw = first.get();
    ASSERT_TRUE(is_open(raw));
    UniqueFd second(std::move(first));
    EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move)
    EXPECT_TRUE(is_open(raw));
    UniqueFd third;
    third = std::move(second);
    EXPECT_EQ(third.get(), raw);
  }
  EXPECT_FALSE(is_open(raw));
}

TEST(UniqueFd, ReleaseGivesItUp) {
  UniqueFd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd again(fd.release());
  EXPECT_FALSE(fd.valid());
  EXPECT_TRUE(is_open(again.get()));
}

}  // namespace
}  // namespace servoir
