#include "protocol/http_status.h"

#include <gtest/gtest.h>

#include <utility>

namespace servoir {
namespace {

TEST(HttpStatus, OfErrors) {
  const std::vector<std::pair<Code, int>> table = {{Code::kOk, 200},
                                                   {Code::kInvalidArgument, 400},
                                                   {Code::kNotFound, 404},
                                                   {Code::kResourceExhausted, 429},
                                                   {Code::kUnavailable, 503},
                                                   {Code::kDeadlineExceeded, 504},
                                                   {Code::kInternal, 500},
                                                   {Code::kCancelled, 499},
                                                   {Code::kUnimplemented, 501},
                                                   {Code::kUnknown, 500},
                                                   {Code::kDataLoss, 500},
                                                   {Code::kPermissionDenied, 403},
                                                   {Code::kAlreadyExists, 409},
                                                   {Code::kAborted, 409},
                                                   {Code::kFailedPrecondition, 400},
                                                   {Code::kOutOfRange, 400}};
  for (const auto& [code, status] : table) EXPECT_EQ(http_status(code), status);
}

}  // namespace
}  // namespace servoir
