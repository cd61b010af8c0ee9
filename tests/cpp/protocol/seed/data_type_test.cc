#include "protocol/seed/data_type.h"

#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>

namespace servoir::seed {
namespace {

// The numbers of the file that clients make their messages from, by the names of the types here.
std::map<std::string, std::uint64_t> published_numbers() {
  std::ifstream file(SERVOIR_PROTO);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::regex line("MS_(\\w+) = (\\d+);");
  std::map<std::string, std::uint64_t> numbers;
  for (std::sregex_iterator found(text.begin(), text.end(), line); found != std::sregex_iterator(); ++found) {
    std::string name = (*found)[1];
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    numbers[name == "string" ? "str" : name] = std::stoull((*found)[2]);
  }
  return numbers;
}

TEST(SeedDataType, NumbersBothWays) {
  const std::map<std::string, std::uint64_t> published = published_numbers();
  ASSERT_EQ(published.size(), kTypes.size() + 1);
  for (const auto& [name, number] : published) {
    if (name == "unknown") continue;
    const auto type = type_of_number(number);
    ASSERT_TRUE(type.has_value()) << number;
    EXPECT_EQ(name_of(*type), name);
    EXPECT_EQ(number_of_type(*type), number);
    EXPECT_EQ(type_of_name(name), type);
  }
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{15}, std::uint64_t{256} + 1, ~std::uint64_t{0}}) {
    EXPECT_FALSE(type_of_number(number).has_value()) << number;
  }
  EXPECT_EQ(number_of_type(DataType::kBfloat16), 0U);
  EXPECT_EQ(number_of_type(DataType::kUnknown), 0U);
}

TEST(SeedDataType, NamesOfRest) {
  EXPECT_EQ(type_of_name("fp16"), DataType::kFloat16);
  EXPECT_EQ(type_of_name("fp32"), DataType::kFloat32);
  for (const char* name : {"string", "bfloat16", "float", "", "unknown"}) EXPECT_FALSE(type_of_name(name)) << name;
}

}  // namespace
}  // namespace servoir::seed
