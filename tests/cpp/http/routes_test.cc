#include "http/routes.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace servoir::http {
namespace {

class Nothing final : public HttpHandler {
 public:
  void on_request(Exchange& /*exchange*/) const override {}
};

class Words final : public ErrorWriter {
 public:
  int write(const Status& error, Payload* body) const override {
    body->append(error.message());
    return 400;
  }
};

class RoutesTest : public ::testing::Test {
 protected:
  const HttpHandler* add(std::string method, std::string pattern) {
    auto handler = std::make_unique<Nothing>();
    const HttpHandler* added = handler.get();
    routes_.add(std::move(method), std::move(pattern), std::move(handler), &errors_);
    return added;
  }
  const HttpHandler* set_fallback() {
    auto handler = std::make_unique<Nothing>();
    const HttpHandler* added = handler.get();
    routes_.set_fallback("POST", "/model/NAME:METHOD", std::move(handler), &other_errors_);
    return added;
  }

  Words errors_;
  Words other_errors_;
  Routes routes_;
};

TEST_F(RoutesTest, FindsByMethodAndPath) {
  const HttpHandler* get = add("GET", "/v2/health/live");
  const HttpHandler* post = add("POST", "/v2/health/live");
  const HttpHandler* root = add("GET", "/");
  EXPECT_EQ(routes_.find("GET", "/v2/health/live").handler, get);
  EXPECT_EQ(routes_.find("POST", "/v2/health/live").handler, post);
  EXPECT_EQ(routes_.find("GET", "/").handler, root);
  EXPECT_EQ(routes_.find("GET", "/v2/health/live").errors, &errors_);
}

TEST_F(RoutesTest, HeadIsAGetWithoutABody) {
  const HttpHandler* get = add("GET", "/metrics");
  EXPECT_EQ(routes_.find("HEAD", "/metrics").handler, get);
  add("POST", "/infer");
  EXPECT_EQ(routes_.find("HEAD", "/infer").handler, nullptr);
}

TEST_F(RoutesTest, APlaceholderStandsForOneSegment) {
  const HttpHandler* infer = add("POST", "/v2/models/{model}/versions/{version}/infer");
  const Routes::Match match = routes_.find("POST", "/v2/models/a%20b/versions/3/infer");
  ASSERT_EQ(match.handler, infer);
  EXPECT_EQ(match.parameters[0], "a%20b") << "as the client wrote it";
  EXPECT_EQ(match.parameters[1], "3");
  for (const char* path :
       {"/v2/models//versions/3/infer", "/v2/models/a/b/versions/3/infer", "/v2/models/a/versions/3",
        "/v2/models/a/versions/3/infer/", "/v2/models/a/versions/3/infer/more", "/v2/models", "v2", "", "//"}) {
    EXPECT_EQ(routes_.find("POST", path).handler, nullptr) << path;
  }
}

TEST_F(RoutesTest, TheFirstThatFitsIsTaken) {
  const HttpHandler* fixed = add("GET", "/v2/models/ready");
  const HttpHandler* any = add("GET", "/v2/models/{model}");
  const HttpHandler* never = add("GET", "/v2/{what}/ready");
  EXPECT_EQ(routes_.find("GET", "/v2/models/ready").handler, fixed);
  EXPECT_EQ(routes_.find("GET", "/v2/models/other").handler, any);
  EXPECT_EQ(routes_.find("GET", "/v2/servables/ready").handler, never);
}

TEST_F(RoutesTest, AnotherMethodIsToldWhichThereAre) {
  add("GET", "/v2/models/{model}");
  add("POST", "/v2/models/{model}");
  const Routes::Match match = routes_.find("DELETE", "/v2/models/m");
  EXPECT_EQ(match.handler, nullptr);
  EXPECT_EQ(match.allow, "GET, HEAD, POST");
  EXPECT_EQ(match.errors, &errors_) << "the family's own form of errors";
  EXPECT_NE(match.refusal.message().find("the method is DELETE, but only GET and POST are served"), std::string::npos)
      << match.refusal.message();
  EXPECT_NE(match.refusal.message().find("POST /v2/models/{model}"), std::string::npos) << match.refusal.message();
}

TEST_F(RoutesTest, WithoutAFallbackAPathMayBelongToNobody) {
  add("GET", "/metrics");
  const Routes::Match match = routes_.find("GET", "/other");
  EXPECT_EQ(match.handler, nullptr);
  EXPECT_EQ(match.allow, "");
  EXPECT_EQ(match.refusal.code(), Code::kNotFound);
  ASSERT_NE(match.errors, nullptr) << "it is told so in some form";
  ASSERT_EQ(match.errors, routes_.default_errors());
  Payload body;
  EXPECT_EQ(match.errors->write(match.refusal, &body), 404);
  EXPECT_GT(body.size(), 0U);
  EXPECT_TRUE(match.errors->content_type().starts_with("text/plain"));
}

TEST_F(RoutesTest, TheFallbackGetsWhatNoPatternFits) {
  const HttpHandler* metrics = add("GET", "/metrics");
  const HttpHandler* fallback = set_fallback();
  EXPECT_EQ(routes_.default_errors(), &other_errors_);
  EXPECT_EQ(routes_.find("POST", "/model/add:add").handler, fallback);
  EXPECT_EQ(routes_.find("POST", "/model/add:add").errors, &other_errors_);
  EXPECT_EQ(routes_.find("GET", "/metrics").handler, metrics);
  const Routes::Match get = routes_.find("GET", "/model/add:add");
  EXPECT_EQ(get.handler, nullptr);
  EXPECT_EQ(get.allow, "POST");
  EXPECT_EQ(get.errors, &other_errors_);
  const Routes::Match post = routes_.find("POST", "/metrics");
  EXPECT_EQ(post.handler, nullptr) << "a path of its own is not the fallback's";
  EXPECT_EQ(post.allow, "GET, HEAD");
}

}  // namespace
}  // namespace servoir::http
