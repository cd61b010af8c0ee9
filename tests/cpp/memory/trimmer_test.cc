#include "memory/trimmer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "memory/size_class.h"

namespace servoir {
namespace {

constexpr std::uint64_t kGiB = 1ULL << 30U;
constexpr std::uint64_t kChunk = 8ULL << 20U;

TEST(Trimmer, WhoWaitsForPagesOnTheirWayWaitsForOneChunk) {
  // No page of it is touched, so nothing but the file's size is large.
  constexpr std::uint64_t kBytes = 16 * kGiB;
  const UniqueFd file(memfd_create("trimmer-test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), static_cast<off_t>(kBytes)), 0);
  Mutex mutex;
  Trimmer trimmer(file.get(), kBytes / kPage, &mutex, [] {});
  ASSERT_TRUE(trimmer.start().ok());
  {
    const MutexLock lock(&mutex);
    ASSERT_EQ(trimmer.take(kBytes / kPage), 0U);
    trimmer.give({0, kBytes / kPage});
  }
  std::uint64_t before = kBytes;
  std::uint64_t after = kBytes;
  while (before == kBytes) {  // until the thread has given the first chunks back
    usleep(100);
    const MutexLock lock(&mutex);
    before = trimmer.resident_bytes();
    if (before == kBytes) continue;
    trimmer.wait_until_released();
    after = trimmer.resident_bytes();
  }
  EXPECT_LE(before - after, kChunk) << "the thread went straight on to the next chunks";
  // It goes on afterwards.
  while (after + kChunk >= before) {
    usleep(1000);
    const MutexLock lock(&mutex);
    after = trimmer.resident_bytes();
  }
}

}  // namespace
}  // namespace servoir
