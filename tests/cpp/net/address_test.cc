#include "net/address.h"

#include <gtest/gtest.h>

#include <string>

namespace servoir {
namespace {

TEST(AddressTest, ReadsHostAndPort) {
  const auto address = parse_address("127.0.0.1:5500");
  ASSERT_TRUE(address.ok());
  EXPECT_FALSE(address->is_unix);
  EXPECT_EQ(address->host, "127.0.0.1");
  EXPECT_EQ(address->port, 5500);
  EXPECT_EQ(address->text(), "127.0.0.1:5500");
}

TEST(AddressTest, ReadsIPv6InBrackets) {
  const auto address = parse_address("[::1]:80");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(address->host, "::1");
  EXPECT_EQ(address->text(), "[::1]:80");
}

TEST(AddressTest, ReadsUnixPaths) {
  const auto address = parse_address("unix:dir/a:b");
  ASSERT_TRUE(address.ok());
  EXPECT_TRUE(address->is_unix);
  EXPECT_EQ(address->path, "dir/a:b");
  EXPECT_EQ(address->text(), "unix:dir/a:b");
}

TEST(AddressTest, TakesTheWholeRangeOfPorts) {
  EXPECT_TRUE(parse_address("h:0").ok());
  EXPECT_TRUE(parse_address("h:65535").ok());
}

struct Wrong {
  std::string address;
  std::string says;
};

class WrongAddressTest : public testing::TestWithParam<Wrong> {};

TEST_P(WrongAddressTest, SaysWhatIsWrong) {
  const auto address = parse_address(GetParam().address);
  ASSERT_FALSE(address.ok());
  EXPECT_EQ(address.status().code(), Code::kInvalidArgument);
  const std::string text(address.status().message());
  EXPECT_NE(text.find(GetParam().says), std::string::npos) << text;
  EXPECT_NE(text.find("'" + GetParam().address), std::string::npos) << text;
}

INSTANTIATE_TEST_SUITE_P(Table, WrongAddressTest,
                         testing::Values(Wrong{"127.0.0.1", "no port"}, Wrong{"invalid address", "host:port"},
                                         Wrong{"", "no port"}, Wrong{":5500", "no host"}, Wrong{"host:", "no port"},
                                         Wrong{"host:port", "not a number"}, Wrong{"host:12x", "not a number"},
                                         Wrong{"host:-1", "1…65535"}, Wrong{"host:--1", "not a number"},
                                         Wrong{"host:-", "not a number"}, Wrong{"host: 1", "not a number"},
                                         Wrong{"host:65536", "1…65535"}, Wrong{"host:99999999999999999999", "1…65535"},
                                         Wrong{"unix:", "empty path"},
                                         Wrong{"unix:" + std::string(108, 'x'), "107 at most"},
                                         Wrong{"127.0.0.1:5000:5000", "cannot be listened on"},
                                         Wrong{"::1:5000", "brackets"}, Wrong{"[name]:5000", "not an IPv6 address"}));

TEST(CheckAddressTest, TakesWhatClientsCanKnow) {
  const auto checked = check_address("127.0.0.1:65535");
  ASSERT_TRUE(checked.ok()) << checked.status().message();
  EXPECT_EQ(checked->port, 65535);
  for (const char* path : {"unix:socket", "unix:./socket", "unix:/socket", "unix:/tmp/socket", "unix:../x:y"}) {
    const auto socket = check_address(path);
    ASSERT_TRUE(socket.ok()) << socket.status().message();
    EXPECT_TRUE(socket->is_unix);
  }
}

TEST(CheckAddressTest, RefusesWhatTheyCannotKnow) {
  const auto says = [](std::string_view text) {
    const auto checked = check_address(text);
    EXPECT_FALSE(checked.ok()) << text;
    EXPECT_EQ(checked.status().code(), Code::kInvalidArgument);
    return std::string(checked.status().message());
  };
  EXPECT_EQ(says("host:0"), "the port of 'host:0' should be in 1…65535");
  EXPECT_EQ(says("unix:nowhere/at/all"), "the directory 'nowhere/at' of 'unix:nowhere/at/all' does not exist");
  EXPECT_EQ(says("unix:/dev/null/socket"), "the directory '/dev/null' of 'unix:/dev/null/socket' does not exist");
  EXPECT_NE(says("host").find("no port"), std::string::npos);
}

}  // namespace
}  // namespace servoir
