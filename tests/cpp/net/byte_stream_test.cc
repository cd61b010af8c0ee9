#include "net/byte_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>

#include "base/unique_fd.h"

namespace servoir {
namespace {

class ByteStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours_ = UniqueFd(ends[0]);
    theirs_ = UniqueFd(ends[1]);
    stream_ = make_plain_stream(ours_.get());
  }
  static iovec piece(std::string& text) { return {text.data(), text.size()}; }

  UniqueFd ours_;
  UniqueFd theirs_;
  std::unique_ptr<ByteStream> stream_;
};

TEST_F(ByteStreamTest, ReadsIntoOnePieceAfterTheOther) {
  ASSERT_EQ(::send(theirs_.get(), "abcdefg", 7, 0), 7);
  std::string first(3, '-');
  std::string second(10, '-');
  const std::array<iovec, 2> pieces = {piece(first), piece(second)};
  const IoResult result = stream_->read(pieces);
  EXPECT_EQ(result.state, IoResult::State::kOk);
  EXPECT_EQ(result.bytes, 7U);
  EXPECT_EQ(first, "abc");
  EXPECT_EQ(second, "defg------");
  EXPECT_TRUE(stream_->short_read_is_last());
  EXPECT_FALSE(stream_->has_input());
}

TEST_F(ByteStreamTest, WritesOnePieceAfterTheOther) {
  std::string first = "abc";
  std::string second = "defg";
  const std::array<iovec, 2> pieces = {piece(first), piece(second)};
  const IoResult result = stream_->write(pieces);
  EXPECT_EQ(result.state, IoResult::State::kOk);
  EXPECT_EQ(result.bytes, 7U);
  std::string got(10, '-');
  ASSERT_EQ(::recv(theirs_.get(), got.data(), got.size(), 0), 7);
  EXPECT_EQ(got, "abcdefg---");
}

TEST_F(ByteStreamTest, SaysThatItWouldBlock) {
  std::string buffer(65536, 'x');
  const std::array<iovec, 1> pieces = {piece(buffer)};
  IoResult result = stream_->read(pieces);
  EXPECT_EQ(result.state, IoResult::State::kWouldBlock);
  EXPECT_FALSE(result.other_way);
  do {
    result = stream_->write(pieces);
  } while (result.state == IoResult::State::kOk);
  EXPECT_EQ(result.state, IoResult::State::kWouldBlock);
  EXPECT_FALSE(result.other_way);
}

TEST_F(ByteStreamTest, SaysThatThePeerHasEndedItsSide) {
  ASSERT_EQ(::send(theirs_.get(), "x", 1, 0), 1);
  ASSERT_EQ(::shutdown(theirs_.get(), SHUT_WR), 0);
  std::string buffer(10, '-');
  const std::array<iovec, 1> pieces = {piece(buffer)};
  EXPECT_EQ(stream_->read(pieces).bytes, 1U);
  EXPECT_EQ(stream_->read(pieces).state, IoResult::State::kEnd);
  EXPECT_EQ(stream_->write(pieces).state, IoResult::State::kOk) << "our side goes on";
}

// And raises no SIGPIPE, which would end the process.
TEST_F(ByteStreamTest, SaysThatTheConnectionIsBroken) {
  theirs_.reset();
  std::string buffer(10, '-');
  const std::array<iovec, 1> pieces = {piece(buffer)};
  const IoResult result = stream_->write(pieces);
  EXPECT_EQ(result.state, IoResult::State::kFailed);
  EXPECT_EQ(result.error, EPIPE);
}

TEST_F(ByteStreamTest, TellsThePeerThatNothingMoreWillCome) {
  stream_->end_output();
  char byte = 0;
  EXPECT_EQ(::recv(theirs_.get(), &byte, 1, 0), 0);
  ASSERT_EQ(::send(theirs_.get(), "x", 1, 0), 1);
  std::string buffer(10, '-');
  const std::array<iovec, 1> pieces = {piece(buffer)};
  EXPECT_EQ(stream_->read(pieces).bytes, 1U) << "what the peer sends still comes";
}

}  // namespace
}  // namespace servoir
