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
                         testing::Values(Wrong{"127.0.0.1", "no port"}, Wrong{"invalid address", "'HOST:PORT'"},
                                         Wrong{"", "no port"}, Wrong{":5500", "no host"}, Wrong{"host:", "no port"},
                                         Wrong{"host:port", "not a number"}, Wrong{"host:12x", "not a number"},
                                         Wrong{"host:-1", "not a number"}, Wrong{"host: 1", "not a number"},
                                         Wrong{"host:65536", "from 1 to 65535"},
                                         Wrong{"host:99999999999999999999", "from 1 to 65535"},
                                         Wrong{"unix:", "empty path"},
                                         Wrong{"unix:" + std::string(108, 'x'), "107 at most"},
                                         Wrong{"127.0.0.1:5000:5000", "cannot be listened on"},
                                         Wrong{"::1:5000", "brackets"}, Wrong{"[name]:5000", "not an IPv6 address"}));

}  // namespace
}  // namespace servoir
