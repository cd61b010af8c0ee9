// The front of a large entry, by a table: the bytes at hand, and what follows from them.

#include "protocol/seed/item_head.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "seed/predict_messages.h"

namespace servoir::seed {
namespace {

using namespace messages;  // NOLINT(google-build-using-namespace)

// What a length announces, without the bytes.
std::string announced(std::uint32_t number, std::uint64_t bytes) {
  std::string out;
  for (std::uint64_t rest : {std::uint64_t{number} << 3U | 2U, bytes}) {
    for (; rest >= 0x80U; rest >>= 7U) out += static_cast<char>(rest | 0x80U);
    out += static_cast<char>(rest);
  }
  return out;
}
constexpr std::uint64_t kData = 100'000;
// Shape and dtype of a uint8 tensor, up to its bytes.
const std::string kTensor = field(1, shape({100'000})) + std::string("\x10\x03") + announced(3, kData);
const std::string kKey = field(1, "x");

TEST(ItemHead, Entries) {
  const std::string value = announced(2, kTensor.size() + kData);
  const std::uint64_t whole = kKey.size() + value.size() + kTensor.size() + kData;
  struct Row {
    const char* what;
    std::string at_hand;
    std::uint64_t entry_bytes;
    HeadStep step;
  };
  const std::string long_key = field(1, std::string(5000, 'k'));
  const std::vector<Row> rows = {
      {"nothing", "", whole, HeadStep::kMore},
      {"part of the key", kKey.substr(0, 2), whole, HeadStep::kMore},
      {"the key", kKey, whole, HeadStep::kMore},
      {"part of the value's head", kKey + value.substr(0, 2), whole, HeadStep::kMore},
      {"key and value's head", kKey + value, whole, HeadStep::kFound},
      {"an unknown field before", field(9, "abc") + kKey + value, whole + 5, HeadStep::kFound},
      {"the value first", announced(2, kData), kData + 10, HeadStep::kHold},
      {"a key that is cut", long_key.substr(0, kItemHeadBytes), whole + 5000, HeadStep::kHold},
      {"a key that cannot come", long_key.substr(0, 100), whole + 5000, HeadStep::kHold},
      {"something after the value", kKey + value, whole + 3, HeadStep::kHold},
      {"no value", field(9, std::string(20, 'a')), 22, HeadStep::kHold},
      {"a length beyond the entry", kKey + announced(2, whole), whole, HeadStep::kMalformed},
      {"a group", std::string("\x0b"), whole, HeadStep::kMalformed},
  };
  for (const Row& row : rows) {
    const EntryHead head = read_entry_head(as_bytes(row.at_hand), row.entry_bytes);
    EXPECT_EQ(head.step, row.step) << row.what;
    if (head.step == HeadStep::kFound) {
      EXPECT_EQ(head.key, "x") << row.what;
      EXPECT_EQ(head.bytes, row.at_hand.size()) << row.what;
    }
    if (head.step == HeadStep::kMalformed) {
      EXPECT_NE(head.wrong, WireStep::kOk) << row.what;
    }
  }
}

TEST(ItemHead, Tensors) {
  const std::uint64_t whole = kTensor.size() + kData;
  struct Row {
    const char* what;
    std::string at_hand;
    std::uint64_t tensor_bytes;
    HeadStep step;
  };
  const std::string long_field = field(9, std::string(kItemHeadBytes, 'u'));
  const std::vector<Row> rows = {
      {"nothing", "", whole, HeadStep::kMore},
      {"part of the shape", kTensor.substr(0, 3), whole, HeadStep::kMore},
      {"all but the length", kTensor.substr(0, kTensor.size() - 1), whole, HeadStep::kMore},
      {"all", kTensor, whole, HeadStep::kFound},
      {"data before the dtype", announced(3, kData), kData + 6, HeadStep::kHold},
      {"a field that is too long", long_field.substr(0, 50), whole + long_field.size(), HeadStep::kHold},
      {"no data", field(1, shape({1})), field(1, shape({1})).size(), HeadStep::kHold},
      {"a shape that is no message", field(1, "\x0a\x05"), whole, HeadStep::kMalformed},
      {"a length beyond the tensor", announced(3, whole), whole, HeadStep::kMalformed},
  };
  for (const Row& row : rows) {
    const TensorHead head = read_tensor_head(as_bytes(row.at_hand), row.tensor_bytes, kItemHeadBytes);
    EXPECT_EQ(head.step, row.step) << row.what;
    if (head.step == HeadStep::kMalformed) {
      EXPECT_NE(head.wrong, WireStep::kOk) << row.what;
    }
  }
  const TensorHead found = read_tensor_head(as_bytes(kTensor), whole, kItemHeadBytes);
  EXPECT_EQ(found.bytes, kTensor.size());
  EXPECT_EQ(found.tensor.dtype, 3U);
  EXPECT_EQ(found.tensor.rank, 1U);
  EXPECT_EQ(found.tensor.dims[0], 100'000);
  EXPECT_EQ(found.tensor.data_bytes, kData);
}

}  // namespace
}  // namespace servoir::seed
