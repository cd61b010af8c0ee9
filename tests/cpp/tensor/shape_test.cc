#include "tensor/shape.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace servoir {
namespace {

constexpr std::int64_t kLarge = std::numeric_limits<std::int64_t>::max();

TEST(Shape, FromRefusesTooManyAndNegativeDimensions) {
  const std::vector<std::int64_t> nine(9, 1);
  EXPECT_TRUE(Shape::from(std::span(nine).first(8)).ok());
  const Status many = Shape::from(nine).status();
  EXPECT_EQ(many.code(), Code::kInvalidArgument);
  EXPECT_EQ(many.message(), "a shape has 9 dimensions; at most 8 are supported");
  const std::vector<std::int64_t> negative = {2, -3};
  EXPECT_EQ(Shape::from(negative).status().message(), "dimension 1 of a shape is -3; it must be 0 or more");
}

TEST(Shape, ElementsAndBytes) {
  EXPECT_EQ(*Shape{}.element_count(), 1U);
  EXPECT_EQ(*(Shape{1, 3, 224}.element_count()), 672U);
  EXPECT_EQ(*(Shape{1, 3, 224}.byte_size(DataType::kFloat32)), 2688U);
  EXPECT_EQ(*(Shape{5}.byte_size(DataType::kString)), 0U);
  EXPECT_EQ(*(Shape{4, 0, 9}.element_count()), 0U);
}

TEST(Shape, AZeroHidesNeitherOverflowNorANegativeDimension) {
  EXPECT_EQ(*(Shape{kLarge, 0}.element_count()), 0U);
  EXPECT_FALSE((Shape{kLarge, kLarge, 0}.element_count().ok())) << "numpy refuses it";
  EXPECT_EQ(*(Shape{kLarge, 0}.byte_size(DataType::kInt8)), 0U);
  EXPECT_FALSE((Shape{kLarge, 0}.byte_size(DataType::kInt16).ok())) << "numpy refuses it";
  EXPECT_FALSE((Shape{0, -2}.element_count().ok()));
}

TEST(Shape, OverflowIsAnError) {
  EXPECT_TRUE((Shape{kLarge, 1}.element_count().ok()));
  EXPECT_EQ((Shape{kLarge, 2}.element_count().status().code()), Code::kInvalidArgument);
  EXPECT_EQ((Shape{kLarge, 1}.byte_size(DataType::kInt16).status().code()), Code::kInvalidArgument);
  EXPECT_EQ((Shape{kLarge, 1}.byte_size(DataType::kInt8).status().code()), Code::kOk);
}

TEST(Shape, EmptyArraysAreCountedUpToTheFirstZero) {
  EXPECT_EQ((Shape{3, 2, 0}.empty_arrays()), 6U);
  EXPECT_EQ((Shape{0, 5}.empty_arrays()), 1U);
  EXPECT_EQ((Shape{2, 0, 0, kLarge}.empty_arrays()), 2U);
  EXPECT_EQ((Shape{3, 2}.empty_arrays()), 0U);
  EXPECT_EQ(Shape{}.empty_arrays(), 0U);
  EXPECT_EQ((Shape{kLarge, kLarge, kLarge, 0}.empty_arrays()), std::uint64_t{1} << 63U);
}

TEST(Shape, DynamicIsForDescriptionsOnly) {
  const Shape shape{kDynamic, 3};
  EXPECT_TRUE(shape.dynamic());
  EXPECT_FALSE(shape.row().dynamic());
  EXPECT_EQ(shape.text(), "[?, 3]");
  EXPECT_EQ(shape.element_count().status().code(), Code::kInvalidArgument);
}

TEST(Shape, RowsOnAndOff) {
  const Shape shape{3, 224};
  const Shape batch = shape.with_rows(16);
  EXPECT_EQ(batch, (Shape{16, 3, 224}));
  EXPECT_EQ(batch.row(), shape);
  EXPECT_EQ(Shape{}.with_rows(2), Shape{2});
  EXPECT_EQ(Shape{2}.row(), Shape{});
  EXPECT_EQ((Shape{1, 2, 3, 4, 5, 6, 7}.with_rows(9).text()), "[9, 1, 2, 3, 4, 5, 6, 7]");
}

TEST(Shape, EqualityLooksAtRankAndDimensions) {
  EXPECT_EQ((Shape{1, 2}), (Shape{1, 2}));
  EXPECT_NE((Shape{1, 2}), (Shape{1, 2, 0}));
  EXPECT_NE((Shape{1, 2}), (Shape{1, 3}));
  EXPECT_EQ(Shape{}.text(), "[]");
}

TEST(Shape, RankFromOutsideIsChecked) {
  Shape shape;
  shape.rank = 4096;
  EXPECT_EQ(shape.element_count().status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace servoir
