#include "base/standard_error.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "base/unique_fd.h"

namespace servoir {
namespace {

class StandardErrorTest : public ::testing::Test {
 protected:
  StandardErrorTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    reading_ = UniqueFd(ends[0]);
    writing_ = UniqueFd(ends[1]);
  }
  // All that is in the pipe.
  std::string read() {
    ::fcntl(reading_.get(), F_SETFL, O_NONBLOCK);
    std::string all;
    std::array<char, 4096> bytes;
    for (ssize_t n = 0; (n = ::read(reading_.get(), bytes.data(), bytes.size())) > 0;) {
      all.append(bytes.data(), static_cast<std::size_t>(n));
    }
    return all;
  }

  UniqueFd reading_;
  UniqueFd writing_;
};

TEST_F(StandardErrorTest, WritesRecordsOfAnyLength) {
  StandardError out(writing_.get());
  const std::string long_one = std::string(20'000, 'x') + "\n";
  out.write("one\n");
  out.write(long_one);
  EXPECT_EQ(read(), "one\n" + long_one);
}

TEST_F(StandardErrorTest, DropsWhatNobodyReadsAndSaysHowMuch) {
  StandardError out(writing_.get());
  const std::string record = std::string(999, 'x') + "\n";
  for (int i = 0; i < 1000; ++i) out.write(record);  // far more than a pipe takes
  const std::string first = read();
  EXPECT_EQ(first.size() % record.size(), 0U);
  const std::size_t written = first.size() / record.size();
  EXPECT_LT(written, 1000U);
  out.write("here again\n");
  out.write("and again\n");
  EXPECT_EQ(read(), "[WARNING] SERVING: " + std::to_string(1000 - written) +
                        " records before this one were dropped, because standard error did not take them\nhere again\n"
                        "and again\n");
}

TEST_F(StandardErrorTest, DropsWhatCannotBeWritten) {
  reading_.reset();
  StandardError out(writing_.get());
  ::signal(SIGPIPE, SIG_IGN);
  out.write("nobody is there\n");
}

}  // namespace
}  // namespace servoir
