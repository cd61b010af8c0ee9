#include "protocol/protobuf.h"

#include <gtest/gtest.h>

#include <protozero/pbf_writer.hpp>
#include <string>

#include "protocol_world.h"

namespace servoir {
namespace {

TEST(Protobuf, LengthsAreThoseOfAnotherImplementation) {
  for (unsigned shift = 0; shift < 64; ++shift) {
    for (const std::uint64_t value : {std::uint64_t{1} << shift, (std::uint64_t{1} << shift) - 1}) {
      std::string other;
      protozero::pbf_writer(other).add_uint64(7, value);
      EXPECT_EQ(number_bytes(7, value), other.size()) << value;
      other.clear();
      protozero::pbf_writer(other).add_uint64(3000, value);
      EXPECT_EQ(number_bytes(3000, value), other.size()) << value;
    }
  }
  EXPECT_EQ(number_bytes(7, ~std::uint64_t{0}), 11U);
}

TEST(Protobuf, ARegionHoldsWhatAnotherImplementationWrites) {
  const std::string text(300, 't');
  std::string other;
  protozero::pbf_writer writer(other);
  writer.add_uint64(1, 1U << 20U);
  writer.add_bytes(200, text);
  writer.add_uint64(70'000, 3);
  Payload payload;
  {
    WireRegion to(&payload, number_bytes(1, 1U << 20U) + delimited_bytes(200, text.size()) + number_bytes(70'000, 3));
    to.number(1, 1U << 20U);
    to.delimited(200, text);
    to.number(70'000, 3);
  }
  EXPECT_EQ(payload.size(), other.size());
  EXPECT_EQ(payload_text(&payload), other);
}

TEST(Protobuf, WhatIsWrittenCanBeRead) {
  Payload payload;
  {
    WireRegion to(&payload, delimited_bytes(2, 3) + number_bytes(1, 300));
    to.delimited(2, "abc");
    to.number(1, 300);
  }
  const std::string message = payload_text(&payload);
  WireReader fields(as_bytes(message));
  ASSERT_TRUE(fields.next());
  EXPECT_TRUE(fields.is(2, WireType::kBytes));
  EXPECT_EQ(fields.text(), "abc");
  ASSERT_TRUE(fields.next());
  EXPECT_TRUE(fields.is(1, WireType::kVarint));
  EXPECT_EQ(fields.head().value, 300U);
  EXPECT_FALSE(fields.next());
  EXPECT_EQ(fields.step(), WireStep::kOk);
}

}  // namespace
}  // namespace servoir
