#include "tensor/port.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

std::string refusal(const Port& port, DataType dtype, const Shape& shape) {
  const Result<std::uint64_t> bytes = shape.byte_size(dtype);
  return std::string(fits(1, port, dtype, shape, bytes.ok() ? *bytes : 0).message());
}

TEST(Fits, WhereThePortIsStaticTheBytesDecide) {
  const Port port{"x", DataType::kFloat32, true, {2, 3}};
  EXPECT_EQ(refusal(port, DataType::kFloat32, {2, 3}), "");
  EXPECT_EQ(refusal(port, DataType::kFloat32, {6}), "");
  EXPECT_EQ(refusal(port, DataType::kFloat32, {5}),
            "input 1 'x' of the model has to be float32 [2, 3] of 24 bytes; given float32 [5] of 20 bytes");
  EXPECT_EQ(refusal(port, DataType::kInt32, {2, 3}),
            "input 1 'x' of the model has to be float32 [2, 3]; given int32 [2, 3] of 24 bytes");
}

TEST(Fits, WhereADimensionIsOpenTheOthersDecide) {
  const Port port{"x", DataType::kFloat32, true, {kDynamic, 3}};
  EXPECT_EQ(refusal(port, DataType::kFloat32, {0, 3}), "");
  EXPECT_EQ(refusal(port, DataType::kFloat32, {7, 3}), "");
  EXPECT_EQ(refusal(port, DataType::kFloat32, {3}),
            "input 1 'x' of the model has to be float32 [?, 3]; given float32 [3] of 12 bytes");
  EXPECT_NE(refusal(port, DataType::kFloat32, {3, 2}), "");
}

TEST(Fits, APortWithoutATypeTakesNumbers) {
  const Port port{"x", DataType::kUnknown, true, {2}};
  EXPECT_EQ(refusal(port, DataType::kInt8, {2}), "");
  EXPECT_EQ(refusal(port, DataType::kFloat64, {2}), "");
  EXPECT_EQ(refusal(port, DataType::kInt8, {3}),
            "input 1 'x' of the model has to be numbers [2] of 2 bytes; given int8 [3] of 3 bytes");
  EXPECT_NE(refusal(port, DataType::kString, {}).find("has to be numbers [2]; given str"), std::string::npos);
}

TEST(Fits, OfTextsTheShapeDecides) {
  const Port port{"x", DataType::kString, true, {2}};
  EXPECT_EQ(refusal(port, DataType::kString, {2}), "");
  EXPECT_EQ(refusal(port, DataType::kString, {3}),
            "input 1 'x' of the model has to be str [2]; given str [3] of 0 bytes");
  EXPECT_NE(refusal(port, DataType::kString, {}), "");
  EXPECT_NE(refusal(port, DataType::kString, {1, 2}), "");
  EXPECT_NE(refusal(port, DataType::kBytes, {2}), "");
  const Port open{"x", DataType::kString, true, {kDynamic, 3}};
  EXPECT_EQ(refusal(open, DataType::kString, {5, 3}), "");
  EXPECT_NE(refusal(open, DataType::kString, {3}), "");
}

TEST(Fits, ASingleTextIsTheOneElementOfItsPort) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{kDynamic}, Shape{1, kDynamic}}) {
    const Port port{"x", DataType::kBytes, true, shape};
    EXPECT_EQ(refusal(port, DataType::kBytes, {}), "") << shape.text();
    const Shape made = shape_for(port, DataType::kBytes, {});
    EXPECT_EQ(made.rank, shape.rank);
    EXPECT_EQ(*made.element_count(), 1U);
  }
  EXPECT_EQ(shape_for({"x", DataType::kBytes, false, {}}, DataType::kBytes, {}), Shape());
  EXPECT_EQ(shape_for({"x", DataType::kInt8, true, {2, 3}}, DataType::kInt8, {6}), Shape({2, 3}));
  EXPECT_EQ(shape_for({"x", DataType::kInt8, true, {kDynamic, 3}}, DataType::kInt8, {6, 3}), Shape({6, 3}));
}

TEST(Fits, ASingleNumberIsTheOneElementOfItsPort) {
  for (const Shape& shape : {Shape({kDynamic}), Shape({kDynamic, 1}), Shape({1, kDynamic, 1})}) {
    const Port port{"x", DataType::kFloat32, true, shape};
    EXPECT_EQ(refusal(port, DataType::kFloat32, Shape()), "") << shape.text();
    Shape ones = shape;
    for (std::uint32_t i = 0; i < ones.rank; ++i) ones.dims[i] = 1;
    EXPECT_EQ(shape_for(port, DataType::kFloat32, Shape()), ones);
  }
  EXPECT_NE(refusal({"x", DataType::kFloat32, true, Shape({kDynamic, 2})}, DataType::kFloat32, Shape()), "");
}

TEST(Fits, APortWithoutARankTakesAnyShape) {
  const Port port{"x", DataType::kFloat32, false, {}};
  EXPECT_EQ(refusal(port, DataType::kFloat32, {}), "");
  EXPECT_EQ(refusal(port, DataType::kFloat32, {1, 2, 3}), "");
  EXPECT_EQ(refusal(port, DataType::kBool, {1}),
            "input 1 'x' of the model has to be float32 of any shape; given bool [1] of 1 bytes");
}

}  // namespace
}  // namespace servoir
