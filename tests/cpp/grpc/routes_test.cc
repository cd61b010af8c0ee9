#include "grpc/routes.h"

#include <gtest/gtest.h>

#include <memory>

namespace servoir::grpc {
namespace {

class Nothing final : public Handler {
 public:
  void on_message(Call& /*call*/, std::span<const std::byte> /*message*/) const override {}
};

TEST(GrpcRoutesTest, FindsByTheWholePath) {
  Routes routes;
  EXPECT_EQ(routes.find("/a.B/C"), nullptr);
  EXPECT_EQ(routes.listed(), "");
  auto handler = std::make_unique<Nothing>();
  const Handler* added = handler.get();
  routes.add("/a.B/C", std::move(handler));
  EXPECT_EQ(routes.find("/a.B/C"), added);
  for (const char* path : {"", "/", "a.B/C", "/a.B/C/", "/a.B/c", "/a.B", "/a.B/CC"}) {
    EXPECT_EQ(routes.find(path), nullptr) << path;
  }
}

TEST(GrpcRoutesTest, ALaterHandlerReplacesAnEarlierOne) {
  Routes routes;
  routes.add("/a.B/C", std::make_unique<Nothing>());
  auto handler = std::make_unique<Nothing>();
  const Handler* added = handler.get();
  routes.add("/a.B/C", std::move(handler));
  EXPECT_EQ(routes.find("/a.B/C"), added);
  EXPECT_EQ(routes.listed(), "/a.B/C");
}

TEST(GrpcRoutesTest, KnowsItsServices) {
  Routes routes;
  routes.add("/a.B/C", std::make_unique<Nothing>());
  routes.add("/a.B/D", std::make_unique<Nothing>());
  EXPECT_EQ(routes.listed(), "/a.B/C and /a.B/D");
  routes.add("/e.F/G", std::make_unique<Nothing>());
  EXPECT_EQ(routes.listed(), "/a.B/C, /a.B/D and /e.F/G");
  EXPECT_TRUE(routes.has_service("a.B"));
  EXPECT_TRUE(routes.has_service("e.F"));
  for (const char* service : {"", "a", "a.B/C", "/a.B", "G"}) EXPECT_FALSE(routes.has_service(service)) << service;
}

}  // namespace
}  // namespace servoir::grpc
