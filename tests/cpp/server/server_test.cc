// Server as a whole: its lanes, its limits, its end.

#include "server/server.h"

#include <sys/wait.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "server_fixture.h"

namespace servoir {
namespace {

TEST_F(ServerTest, ADeadWorkersTasksRunElsewhere) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  gate_.hold();
  const std::int32_t stream = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  client.run_until([&] { return server_->stats().total("servoir_requests") == 1; });
  gate_.wait_for_arrival(1);
  Adder second(server_.get(), servable_);
  // As if the first one had been killed in the middle of its batch: its lane goes, and its answer comes to nobody.
  ASSERT_TRUE(server_->detach_lane(adder_->attachment(), "killed").ok());
  EXPECT_EQ(predict_values(client.wait(stream).message()), (std::vector<std::vector<float>>{{2}}));
  gate_.open();
  second.die("the test is over");
}

TEST_F(ServerTest, ResultsThatADeadWorkerHadSentCount) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  const std::int32_t stream = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  client.run_until([&] { return adder_->rows() == 1; });
  adder_->die("killed");
  EXPECT_EQ(predict_values(client.wait(stream).message()), (std::vector<std::vector<float>>{{2}}));
}

TEST_F(ServerTest, ReportsAWorkerThatBreaksTheProtocol) {
  start();
  std::promise<std::pair<AttachmentId, std::string>> failed;
  server_->on_lane_failure([&](AttachmentId id, const std::string& text, bool /*overdue*/) {
    failed.set_value({id, text});
  });
  GrpcClient client(listen(Protocol::kGrpc));
  adder_->send_nonsense();
  const std::int32_t stream = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  client.run_until([&] { return server_->stats().total("servoir_requests") == 1; });
  auto future = failed.get_future();
  ASSERT_EQ(future.wait_for(std::chrono::milliseconds(kTestPatienceMs)), std::future_status::ready);
  const auto [id, text] = future.get();
  EXPECT_EQ(id, adder_->attachment());
  EXPECT_FALSE(text.empty());
  adder_->die("it broke the protocol");
  const Adder successor(server_.get(), servable_);
  EXPECT_EQ(predict_values(client.wait(stream).message()), (std::vector<std::vector<float>>{{2}}));
}

// Listeners, connections and lanes belong to all I/O threads; each answer crosses from one to another.
TEST_F(ServerTest, ManyServablesShareTheIoThreads) {
  ServerOptions options;
  options.io_threads = 8;
  start(options);
  std::vector<std::unique_ptr<Adder>> adders;
  for (int i = 0; i < 5; ++i) {
    const ServableId servable = server_->publish(adder_spec("w" + std::to_string(i + 2), 4)).value();
    for (int k = 0; k < 2; ++k) adders.push_back(std::make_unique<Adder>(server_.get(), servable));
  }
  const std::vector<std::string> addresses = {listen(Protocol::kGrpc), listen(Protocol::kGrpc)};
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      GrpcClient client(addresses[static_cast<std::size_t>(c % 2)]);
      for (int round = 0; round < 20; ++round) {
        std::vector<std::int32_t> streams;
        for (int i = 0; i < 12; ++i) {
          const auto x = static_cast<float>(100 * c + i);
          streams.push_back(
              client.start(kPredict, GrpcClient::framed(predict_request({{x}}, "w" + std::to_string(i % 6 + 1)))));
        }
        for (int i = 0; i < 12; ++i) {
          const auto x = static_cast<float>(100 * c + i);
          ASSERT_EQ(predict_values(client.wait(streams[static_cast<std::size_t>(i)]).message()),
                    (std::vector<std::vector<float>>{{x + 1}}));
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  // One worker goes while others are asked, and the listeners close.
  adders.front()->die("killed");
  ASSERT_TRUE(server_->close_listener(listener_).ok());
  GrpcClient last(addresses[0]);
  EXPECT_EQ(predict_values(last.call(kPredict, predict_request({{1}}, "w2")).message()),
            (std::vector<std::vector<float>>{{2}}));
  server_->stop();
  adders.clear();
}

TEST_F(ServerTest, LetsConnectionsBeyondTheLimitWait) {
  ServerOptions options;
  options.max_connections = 2;
  start(options);
  const std::string address = listen(Protocol::kGrpc);
  auto first = std::make_unique<GrpcClient>(address);
  EXPECT_EQ(first->call(kPredict, predict_request({{1}})).status(), 0);
  GrpcClient second(address);
  EXPECT_EQ(second.call(kPredict, predict_request({{1}})).status(), 0);
  GrpcClient third(address);
  const std::int32_t waiting = third.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(second.call(kPredict, predict_request({{1}})).status(), 0);
  EXPECT_EQ(server_->stats().total("servoir_connections"), 2U);
  first.reset();
  EXPECT_EQ(third.wait(waiting).status(), 0);
}

TEST_F(ServerTest, RefusesMoreRequestsThanTheLimit) {
  start({}, 1);
  server_->set_max_enqueued_requests(5);
  GrpcClient client(listen(Protocol::kGrpc));
  gate_.hold();
  std::vector<std::int32_t> streams;
  for (int i = 0; i < 8; ++i) streams.push_back(client.start(kPredict, GrpcClient::framed(predict_request({{1}}))));
  for (std::size_t i = 5; i < 8; ++i) {
    const auto errors = predict_errors(client.wait(streams[i]).message());
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_NE(errors[0].find('5'), std::string::npos) << errors[0];
  }
  gate_.open();
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(predict_errors(client.wait(streams[i]).message()).empty());
  }
}

TEST_F(ServerTest, DrainsALane) {
  start();
  GrpcClient client(listen(Protocol::kGrpc));
  gate_.hold();
  const std::int32_t first = client.start(kPredict, GrpcClient::framed(predict_request({{1}})));
  client.run_until([&] { return server_->stats().total("servoir_requests") == 1; });
  gate_.wait_for_arrival(1);
  EXPECT_FALSE(server_->drain_lane(adder_->attachment()).value());
  const std::int32_t second = client.start(kPredict, GrpcClient::framed(predict_request({{2}})));
  gate_.open();
  EXPECT_EQ(client.wait(first).status(), 0);
  eventually([&] { return server_->drain_lane(adder_->attachment()).value(); }, "the lane is empty");
  EXPECT_FALSE(client.reply(second).closed);
  Adder next(server_.get(), servable_);
  EXPECT_EQ(predict_values(client.wait(second).message()), (std::vector<std::vector<float>>{{3}}));
  next.die("the test is over");
}

TEST_F(ServerTest, StopsWithCallsInFlight) {
  ServerOptions options;
  options.io_threads = 2;
  start(options);
  const std::string grpc = listen(Protocol::kGrpc);
  const std::string rest = listen(Protocol::kRest);
  gate_.hold();
  std::vector<std::unique_ptr<GrpcClient>> clients;
  std::vector<std::int32_t> streams;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<GrpcClient>(grpc));
    streams.push_back(clients.back()->start(kPredict, GrpcClient::framed(predict_request({{1}}))));
    clients.back()->run_until([&] { return server_->stats().total("servoir_requests") == static_cast<double>(i + 1); });
  }
  PlainClient idle(rest);
  server_->stop();
  server_->stop();
  for (std::size_t i = 0; i < clients.size(); ++i) {
    clients[i]->run_until([&] { return clients[i]->ended(); });
    EXPECT_EQ(clients[i]->reply(streams[i]).status(), 14);
  }
  EXPECT_EQ(idle.receive_until_end(), "");
  EXPECT_FALSE(PlainClient(grpc).connected());
  EXPECT_FALSE(PlainClient(rest).connected());
  EXPECT_EQ(server_->listen("127.0.0.1:0", Protocol::kGrpc, 1000).status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(server_->open_lane().status().code(), Code::kFailedPrecondition);
}

TEST_F(ServerTest, StartsAgainOnTheSamePorts) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  for (int i = 0; i < 5; ++i) {
    {
      GrpcClient client(address);
      EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
      server_->stop();
    }
    adder_.reset();
    start();
    ASSERT_EQ(listen(Protocol::kGrpc, 1U << 20U, address), address);
  }
}

TEST_F(ServerTest, RefusesAddressesThatCannotBe) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  for (const std::string& bad : {address, std::string("nonsense"), std::string("unix:/nowhere/at/all")}) {
    const auto listener = server_->listen(bad, Protocol::kGrpc, 1000);
    ASSERT_FALSE(listener.ok()) << bad;
    EXPECT_NE(listener.status().message().find(bad), std::string_view::npos) << listener.status().message();
  }
  EXPECT_EQ(server_->close_listener(77).code(), Code::kNotFound);
  EXPECT_EQ(server_->listener_address(77).status().code(), Code::kNotFound);
  EXPECT_EQ(server_->detach_lane(77, "none").status().code(), Code::kNotFound);
}

TEST_F(ServerTest, HoldsManyIdleConnections) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  std::vector<std::unique_ptr<PlainClient>> clients;
  for (int i = 0; i < 500; ++i) {
    clients.push_back(std::make_unique<PlainClient>(address));
    ASSERT_TRUE(clients.back()->connected());
  }
  eventually([&] { return server_->stats().total("servoir_connections") == 500; }, "all are accepted");
  GrpcClient client(address);
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
  clients.clear();
  eventually([&] { return server_->stats().total("servoir_connections") == 1; }, "all are gone");
}

#if !defined(__SANITIZE_THREAD__)
TEST_F(ServerTest, AForkedChildLeavesTheServerAlone) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient client(address);
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    server_->stop();
    const bool refused = !server_->listen("127.0.0.1:0", Protocol::kGrpc, 1000).ok();
    server_.reset();
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
}

TEST_F(ServerTest, FreesItsPortWhileAForkedChildLives) {
  start();
  const std::string address = listen(Protocol::kGrpc);
  GrpcClient client(address);
  EXPECT_EQ(client.call(kPredict, predict_request({{1}})).status(), 0);
  int hold[2];
  ASSERT_EQ(::pipe(hold), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(hold[1]);
    char byte = 0;
    [[maybe_unused]] const ssize_t n = ::read(hold[0], &byte, 1);
    ::_exit(0);
  }
  ASSERT_TRUE(server_->close_listener(listener_).ok());
  client.run_until([&] { return client.ended(); });
  EXPECT_EQ(listen(Protocol::kGrpc, 1U << 20U, address), address);
  GrpcClient again(address);
  EXPECT_EQ(again.call(kPredict, predict_request({{1}})).status(), 0);
  ::close(hold[1]);
  ::close(hold[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
}
#endif

}  // namespace
}  // namespace servoir
