#include "net/openssl_objects.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <sys/socket.h>

#include <array>
#include <string>

#include "base/unique_fd.h"

namespace servoir {
namespace {

TEST(TlsErrorTest, IsTheNewestAndEmptiesTheQueue) {
  OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS, nullptr);  // as the first context does
  ERR_clear_error();
  EXPECT_EQ(take_tls_error(), "no reason given");
  ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
  ERR_raise(ERR_LIB_SSL, SSL_R_NO_SHARED_CIPHER);
  EXPECT_EQ(take_tls_error(), "no shared cipher");
  EXPECT_EQ(take_tls_error(), "no reason given");
  EXPECT_EQ(ERR_peek_error(), 0U);
}

TEST(TlsErrorTest, SaysThatAPeerSpeaksWithoutTls) {
  for (const int reason : {SSL_R_HTTP_REQUEST, SSL_R_WRONG_VERSION_NUMBER}) {
    ERR_raise(ERR_LIB_SSL, reason);
    EXPECT_TRUE(take_tls_error().ends_with("(it speaks without TLS)"));
  }
}

class SocketBioTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()),
              0);  // blocking: it makes no difference
    ours_ = UniqueFd(ends[0]);
    theirs_ = UniqueFd(ends[1]);
    bio_ = make_socket_bio(ours_.get());
    ASSERT_NE(bio_, nullptr);
  }

  UniqueFd ours_;
  UniqueFd theirs_;
  BioPtr bio_;
};

TEST_F(SocketBioTest, MovesBytesBothWays) {
  std::size_t moved = 0;
  ASSERT_EQ(BIO_write_ex(bio_.get(), "hello", 5, &moved), 1);
  EXPECT_EQ(moved, 5U);
  EXPECT_EQ(BIO_flush(bio_.get()), 1);
  std::string got(10, '-');
  ASSERT_EQ(::recv(theirs_.get(), got.data(), got.size(), MSG_DONTWAIT), 5);
  EXPECT_EQ(got, "hello-----");
  ASSERT_EQ(::send(theirs_.get(), "back", 4, 0), 4);
  ASSERT_EQ(BIO_read_ex(bio_.get(), got.data(), got.size(), &moved), 1);
  EXPECT_EQ(got.substr(0, moved), "back");
}

TEST_F(SocketBioTest, SaysWhenToTryAgain) {
  std::size_t moved = 0;
  std::string buffer(65536, 'x');
  EXPECT_EQ(BIO_read_ex(bio_.get(), buffer.data(), buffer.size(), &moved), 0);
  EXPECT_TRUE(BIO_should_read(bio_.get()));
  EXPECT_FALSE(BIO_eof(bio_.get()));
  while (BIO_write_ex(bio_.get(), buffer.data(), buffer.size(), &moved) == 1) {
  }
  EXPECT_TRUE(BIO_should_write(bio_.get()));
}

TEST_F(SocketBioTest, SaysThatThePeerHasEnded) {
  ASSERT_EQ(::shutdown(theirs_.get(), SHUT_WR), 0);
  std::size_t moved = 1;
  std::string buffer(10, '-');
  EXPECT_EQ(BIO_read_ex(bio_.get(), buffer.data(), buffer.size(), &moved), 0);
  EXPECT_EQ(moved, 0U);
  EXPECT_FALSE(BIO_should_retry(bio_.get()));
  EXPECT_TRUE(BIO_eof(bio_.get()));
}

// A SIGPIPE would end the process.
TEST_F(SocketBioTest, AWriteToNobodyIsAnError) {
  theirs_.reset();
  std::size_t moved = 0;
  EXPECT_EQ(BIO_write_ex(bio_.get(), "x", 1, &moved), 0);
  EXPECT_FALSE(BIO_should_retry(bio_.get()));
}

TEST_F(SocketBioTest, LeavesTheDescriptorToItsOwner) {
  bio_.reset();
  EXPECT_EQ(::send(ours_.get(), "x", 1, MSG_NOSIGNAL), 1);
}

}  // namespace
}  // namespace servoir
