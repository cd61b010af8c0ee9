// Requests by columns; those by instances are tested by the readers of the protocols.

#include "protocol/request_builder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "protocol_world.h"
#include "tensor/text_array.h"

namespace servoir {
namespace {

class Columns : public ::testing::Test {
 protected:
  Columns() { EXPECT_TRUE(builder.method("add", 0, "add").ok()); }
  // Fills a column of float32 rows with first, first + 1, …
  void fill(const char* input, const Shape& row_shape, std::uint32_t rows, float first) {
    const auto place = builder.column(builder.input(input), DataType::kFloat32, row_shape, rows);
    ASSERT_TRUE(place.ok()) << place.status().message();
    const std::uint64_t count = *row_shape.element_count() * rows;
    for (std::uint64_t i = 0; i < count; ++i, ++first) std::memcpy(*place + i * 4, &first, 4);
  }
  std::string error(const char* input, DataType dtype, const Shape& row_shape, std::uint32_t rows) {
    const auto place = builder.column(builder.input(input), dtype, row_shape, rows);
    EXPECT_EQ(place.status().code(), Code::kInvalidArgument);
    return std::string(place.status().message());
  }

  ProtocolWorld world;
  RequestBuilder builder{world.scheduler.get(), world.slabs.get()};
};

TEST_F(Columns, RowsAreInstances) {
  fill("x2", {2}, 3, 10);
  fill("x1", {}, 3, 1);
  const auto request = builder.finish();
  ASSERT_TRUE(request.ok()) << request.status().message();
  ASSERT_EQ((*request)->instances, 3U);
  for (std::uint32_t i = 0; i < 3; ++i) {
    const TensorRef& x1 = (*request)->at(0, i);
    const TensorRef& x2 = (*request)->at(1, i);
    EXPECT_EQ(x1.shape, Shape());
    EXPECT_EQ(x2.shape, Shape({2}));
    float values[3];
    std::memcpy(values, x1.data(), 4);
    std::memcpy(values + 1, x2.data(), 8);
    const auto row = static_cast<float>(i);
    EXPECT_EQ(values[0], 1 + row);
    EXPECT_EQ(values[1], 10 + 2 * row);
    EXPECT_EQ(values[2], 11 + 2 * row);
    if (i > 0) {
      EXPECT_EQ(x2.offset, (*request)->at(1, i - 1).offset + 8) << "a run of rows is a batch without a copy";
    }
  }
}

TEST_F(Columns, RowsOfNoBytes) {
  fill("x1", {0}, 1000, 0);
  fill("x2", {3, 0}, 1000, 0);
  EXPECT_TRUE(builder.finish().ok());
}

TEST_F(Columns, EmptyArraysAreLimitedForAllRowsTogether) {
  const std::string text = error("x1", DataType::kFloat32, {2000, 0}, 1000);
  EXPECT_NE(text.find("servable 'add' has too many empty arrays: in each row the shape [2000, 0] has no element"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("at most 1048576"), std::string::npos) << text;
}

TEST_F(Columns, AllHaveTheSameNumberOfRows) {
  fill("x1", {}, 3, 1);
  EXPECT_EQ(error("x2", DataType::kFloat32, {}, 4),
            "input 'x2' of method 'add' of servable 'add' has 4 rows, the inputs before it have 3; all inputs have a "
            "row for each instance");
}

TEST_F(Columns, AnInputThatIsMissing) {
  fill("x2", {}, 3, 1);
  const auto request = builder.finish();
  EXPECT_EQ(request.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(request.status().message(), "input 'x1' of method 'add' of servable 'add' is missing");
}

TEST_F(Columns, WhatIsNoColumn) {
  EXPECT_NE(error("x1", DataType::kFloat32, {}, 0).find("has no rows"), std::string::npos);
  EXPECT_NE(error("x1", DataType::kFloat32, {}, kMaxInstances + 1).find("at most 262144 instances"), std::string::npos);
  EXPECT_NE(error("x1", DataType::kString, {}, 2).find("is of str"), std::string::npos);
}

class TextColumns : public Columns {
 protected:
  Status put(const char* input, DataType dtype, const Shape& row_shape, std::uint32_t rows, std::string_view bytes) {
    const auto place = world.slabs->alone(bytes.size());
    EXPECT_TRUE(place.ok());
    std::memcpy(place->data, bytes.data(), bytes.size());
    return builder.text_column(builder.input(input), dtype, row_shape, rows, *place, bytes.size());
  }
  static std::string array(const std::vector<std::string_view>& elements) {
    std::string bytes;
    for (const std::string_view element : elements) append_text(element, &bytes);
    return bytes;
  }
  static std::string bytes_of(const TensorRef& value) {
    return {reinterpret_cast<const char*>(value.data()), value.bytes};
  }
};

TEST_F(TextColumns, RowsAreInstances) {
  ASSERT_TRUE(put("x1", DataType::kBytes, {}, 3,
                  array({"a", "",
                         "\xff"
                         "bc"}))
                  .ok());
  ASSERT_TRUE(put("x2", DataType::kString, {2}, 3, array({"a", "b", "", "h\xc3\xa9", "e", "f"})).ok());
  const auto request = builder.finish();
  ASSERT_TRUE(request.ok()) << request.status().message();
  ASSERT_EQ((*request)->instances, 3U);
  const std::vector<std::string> x1 = {"a", "",
                                       "\xff"
                                       "bc"};
  const std::vector<std::string> x2 = {array({"a", "b"}), array({"", "h\xc3\xa9"}), array({"e", "f"})};
  for (std::uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*request)->at(0, i).shape, Shape());
    EXPECT_EQ((*request)->at(0, i).dtype, DataType::kBytes);
    EXPECT_EQ(bytes_of((*request)->at(0, i)), x1[i]);
    EXPECT_EQ((*request)->at(1, i).shape, Shape({2}));
    EXPECT_EQ(bytes_of((*request)->at(1, i)), x2[i]);
  }
}

TEST_F(TextColumns, WhatIsNotWhole) {
  const std::string two = array({"a", "b"});
  const auto error = [&](const Shape& row_shape, std::uint32_t rows, std::string_view bytes, DataType dtype) {
    const Status status = put("x1", dtype, row_shape, rows, bytes);
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_EQ(error({2}, 2, two, DataType::kBytes),
            "input 'x1' of method 'add' of servable 'add' has 2 rows of shape [2], but row 1 is not whole: 0 bytes are "
            "left for the length (4 bytes) and the bytes of its element 0");
  EXPECT_NE(error({}, 2, two + "x", DataType::kBytes).find("and 1 bytes come after them"), std::string::npos);
  EXPECT_NE(error({}, 2, two.substr(0, 9), DataType::kBytes).find("row 1 is not whole: 4 bytes"), std::string::npos);
  EXPECT_NE(error({}, 2, std::string("\xff\xff\xff\xff") + two, DataType::kBytes).find("row 0 is not whole"),
            std::string::npos);
  EXPECT_NE(error({1LL << 40, 1LL << 40}, 2, two, DataType::kBytes).find("63 bits"), std::string::npos);
  EXPECT_NE(error({}, 2, array({"a", "\xff"}), DataType::kString).find("row 1 that is not valid UTF-8"),
            std::string::npos);
}

TEST_F(Columns, MoreThanTheArenaHas) {
  const auto place = builder.column(0, DataType::kFloat64, {1 << 20}, 1000);
  EXPECT_EQ(place.status().code(), Code::kResourceExhausted);
}

// ---- what requests take besides their tensors

class RequestHeap : public ::testing::Test {
 protected:
  // A request of so many instances, read one by one.
  Result<std::shared_ptr<Request>> read(std::uint32_t instances, std::uint64_t expected = 0) {
    RequestBuilder builder(world.scheduler.get(), world.slabs.get());
    SERVOIR_RETURN_IF_ERROR(builder.method("add", 0, "add"));
    builder.expect_instances(expected, instances * std::uint64_t{100});
    for (std::uint32_t i = 0; i < instances; ++i) {
      SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
      builder.expect_instances(0, 0);
      for (const int input : {0, 1}) {
        SERVOIR_RETURN_IF_ERROR(builder.tensor(input, DataType::kInt8, Shape(), 1).status());
      }
      SERVOIR_RETURN_IF_ERROR(builder.end_instance());
    }
    return builder.finish();
  }
  Result<std::shared_ptr<Request>> read_columns(std::uint32_t rows) {
    RequestBuilder builder(world.scheduler.get(), world.slabs.get());
    SERVOIR_RETURN_IF_ERROR(builder.method("add", 0, "add"));
    for (const int input : {0, 1}) {
      SERVOIR_RETURN_IF_ERROR(builder.column(input, DataType::kInt8, Shape(), rows).status());
    }
    return builder.finish();
  }
  [[nodiscard]] std::uint64_t used() const { return world.slabs->heap()->used(); }

  ProtocolWorld world;
};

TEST_F(RequestHeap, IsCountedAsLongAsTheRequestLives) {
  EXPECT_TRUE(read(10).ok());
  EXPECT_TRUE(read(10, 10).ok());
  {
    const auto small = read(10);
    EXPECT_EQ(used(), 0U) << "so little is not counted";
  }
  for (const std::uint64_t expected : {0U, 1U, 500U, 1000U, 5000U}) {
    const auto request = read(1000, expected);
    ASSERT_TRUE(request.ok()) << request.status().message();
    EXPECT_GE(used(), 1000 * 3 * sizeof(TensorRef)) << "two inputs and an output";
    EXPECT_LE(used(), 1000 * 4 * sizeof(TensorRef));
  }
  {
    const auto request = read_columns(1000);
    ASSERT_TRUE(request.ok());
    EXPECT_GE(used(), 1000 * 3 * sizeof(TensorRef));
  }
  EXPECT_EQ(used(), 0U);
}

TEST_F(RequestHeap, HasABoundForAllRequests) {
  std::vector<std::shared_ptr<Request>> requests;
  std::uint32_t refused = 0;
  for (std::uint32_t i = 0; i < 50; ++i) {
    auto request = i % 2 == 0 ? read(kMaxInstances / 8) : read_columns(kMaxInstances / 8);
    if (request.ok()) {
      requests.push_back(std::move(request).value());
      continue;
    }
    ++refused;
    EXPECT_EQ(request.status().code(), Code::kResourceExhausted);
    const std::string text(request.status().message());
    EXPECT_NE(text.find(std::to_string(world.slabs->heap()->limit())), std::string::npos) << text;
    EXPECT_NE(text.find(std::to_string(used())), std::string::npos) << text;
    EXPECT_NE(text.find("SERVOIR_ARENA_LIMIT_MB"), std::string::npos) << text;
  }
  EXPECT_GT(requests.size(), 0U);
  EXPECT_GT(refused, 0U);
  EXPECT_LE(used(), world.slabs->heap()->limit());
  EXPECT_TRUE(read(10).ok()) << "small requests go on";
  requests.clear();
  EXPECT_EQ(used(), 0U);
  EXPECT_TRUE(read(kMaxInstances).ok()) << "a request that is alone";
}

// ---- what the requests of a connection have together

class ConnectionBudget : public ::testing::Test {
 protected:
  Result<std::shared_ptr<Request>> read(MemoryBudget* connection, std::int64_t elements) {
    RequestBuilder builder(world.scheduler.get(), world.slabs.get(), connection);
    SERVOIR_RETURN_IF_ERROR(builder.method("add", 0, "add"));
    SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
    for (const int input : {0, 1}) {
      const auto bytes = static_cast<std::uint64_t>(elements);
      SERVOIR_RETURN_IF_ERROR(builder.tensor(input, DataType::kInt8, {elements}, bytes).status());
    }
    SERVOIR_RETURN_IF_ERROR(builder.end_instance());
    return builder.finish();
  }

  ProtocolWorld world;
};

TEST_F(ConnectionBudget, BoundsItsRequestsUntilTheyAreAnswered) {
  auto one = std::make_shared<MemoryBudget>(1'000'000);
  MemoryBudget other(1'000'000);
  std::vector<std::shared_ptr<Request>> waiting;
  for (int i = 0; i < 4; ++i) {
    auto request = read(one.get(), 120'000);
    ASSERT_TRUE(request.ok()) << request.status().message();
    waiting.push_back(std::move(request).value());
  }
  EXPECT_GE(one->used(), 960'000U);
  const auto refused = read(one.get(), 120'000);
  EXPECT_EQ(refused.status().code(), Code::kResourceExhausted);
  const std::string text(refused.status().message());
  for (const std::string& part : {std::to_string(one->used()), std::string(" of the 1000000 bytes that one connection"),
                                  std::string("SERVOIR_ARENA_LIMIT_MB")}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_TRUE(read(one.get(), 100).ok()) << "a small request goes on";
  EXPECT_TRUE(read(&other, 400'000).ok()) << "so does another connection";
  waiting.pop_back();
  EXPECT_TRUE(read(one.get(), 100'000).ok());
  one.reset();  // the connection has gone, its requests have not
  waiting.clear();
}

TEST_F(ConnectionBudget, ARequestThatIsAloneMayHaveMore) {
  MemoryBudget connection(1'000'000);
  EXPECT_TRUE(read(&connection, 2'000'000).ok());
  EXPECT_EQ(connection.used(), 0U);
}

}  // namespace
}  // namespace servoir
