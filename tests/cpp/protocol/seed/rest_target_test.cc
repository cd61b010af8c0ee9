#include "protocol/seed/rest_target.h"

#include <gtest/gtest.h>

namespace servoir::seed {
namespace {

std::string target_text(std::string_view path) {
  const auto target = parse_rest_target(path);
  if (!target.ok()) {
    const bool names_a_model = path.find("/model/") != std::string_view::npos;
    EXPECT_EQ(target.status().code(), names_a_model ? Code::kInvalidArgument : Code::kNotFound) << path;
    EXPECT_NE(target.status().message().find("/model/NAME"), std::string_view::npos) << target.status().message();
    return "error";
  }
  return target->servable + " " + std::to_string(target->version) + " " + target->method;
}

TEST(RestTarget, Accepted) {
  EXPECT_EQ(target_text("/model/add:f"), "add 0 f");
  EXPECT_EQ(target_text("/model/add/version/0:f"), "add 0 f");
  EXPECT_EQ(target_text("/model/add/version/1:f"), "add 1 f");
  EXPECT_EQ(target_text("/version/1/model/add:f"), "add 1 f");
  EXPECT_EQ(target_text("/model/add/version/4294967294:f"), "add 4294967294 f");
  EXPECT_EQ(target_text("/any/prefix/model/add:f"), "add 0 f");
  EXPECT_EQ(target_text("/v1/version/2/model/add:f"), "add 2 f");
  EXPECT_EQ(target_text("/model/model:f"), "model 0 f");
  EXPECT_EQ(target_text("/model/%E6%A8%A1%20x:f%3A"), "\xE6\xA8\xA1 x 0 f:");
  EXPECT_EQ(target_text("/model/a%3Ab:f"), "a:b 0 f");
  EXPECT_EQ(target_text("/model/add%3Af"), "add 0 f");
  EXPECT_EQ(target_text("/model/add/version/2%3af%3Ag"), "add 2 f:g");
}

TEST(RestTarget, WhatFollowsTheColonIsTheMethod) {
  EXPECT_EQ(target_text("/model/add:f?a=1"), "add 0 f?a=1");
  EXPECT_EQ(target_text("/model/add:f/version/1"), "add 0 f/version/1");
  EXPECT_EQ(target_text("/model/add:f:g"), "add 0 f:g");
}

TEST(RestTarget, Refused) {
  for (const char* path : {"",
                           "/",
                           "/model",
                           "/model/",
                           "/models/add:f",
                           "/add:f",
                           "/model/:f",
                           "/model/add",
                           "/model/add:",
                           "/model/add/version/1",
                           "/model//version/1:f",
                           "/model/version/1:f",
                           "/model/add/version/-1:f",
                           "/model/add/version/4294967295:f",
                           "/model/add/version/99999999999999999999999:f",
                           "/model/add/version/x:f",
                           "/model/add/version/1x:f",
                           "/model/add/version/+1:f",
                           "/model/add/version/1.0:f",
                           "/model/add/version/:f",
                           "/model/add/version:f",
                           "/version//model/add:f",
                           "/version/x/model/add:f",
                           "/version/1/2/model/add:f",
                           "/version/1/model/add/version/2:f",
                           "/version/1:f",
                           "/model/a/b:f",
                           "/model/%:f",
                           "/model/%4:f",
                           "/model/%zz:f",
                           "/model/a:%4"}) {
    EXPECT_EQ(target_text(path), "error") << path;
  }
}

}  // namespace
}  // namespace servoir::seed
