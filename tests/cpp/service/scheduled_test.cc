// What services share of calls and exchanges: the scheduler's answers, also in parts, and what a client says of its
// request.
#include "service/scheduled.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grpc/call.h"
#include "http/http1_connection.h"
#include "http/http2_connection.h"
#include "protocol/protocol_world.h"
#include "protocol/request_builder.h"
#include "service/request_info.h"
#include "support/grpc_client.h"
#include "support/loop_fixture.h"
#include "support/payload_of_text.h"

namespace servoir::service {
namespace {

// A request that waits in the scheduler for a worker that never takes it.
std::shared_ptr<Request> waiting_request(const Frontend& frontend) {
  RequestBuilder builder(frontend.scheduler, frontend.slabs);
  EXPECT_TRUE(builder.method("add", 0, "echo").ok());
  EXPECT_TRUE(builder.begin_instance().ok());
  const Result<std::byte*> place = builder.tensor(0, DataType::kFloat32, {4}, 16);
  EXPECT_TRUE(place.ok());
  std::memset(*place, 0, 16);
  return ProtocolWorld::must(builder.finish());
}

// Requests that the test is to answer.
class Submitted {
 public:
  void put(std::shared_ptr<Request> request) {
    const std::lock_guard lock(mutex_);
    request_ = std::move(request);
    changed_.notify_all();
  }
  std::shared_ptr<Request> take() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::milliseconds(kTestPatienceMs), [&] { return request_ != nullptr; }));
    return std::exchange(request_, nullptr);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Request> request_;
};

// Toy services: each part of an answer is sent as it comes.
class ToyCalls final : public grpc::Handler, private Scheduled<grpc::Call> {
 public:
  ToyCalls(const Frontend* frontend, Submitted* submitted) : Scheduled(frontend), submitted_(submitted) {}
  grpc::CallShape shape() const override { return grpc::CallShape::kServerStream; }
  void on_message(grpc::Call& call, std::span<const std::byte> /*message*/) const override {
    auto request = waiting_request(frontend());
    read_request_info(call, &request->info);
    repeat_request_id(call);
    submit(call, request);
    submitted_->put(std::move(request));
  }
  void on_cancel(grpc::Call& call, const Status& why) const override { cancel(call, why); }

 private:
  void refuse(grpc::Call& call, const Status& why) const override { call.finish(why); }
  void write_answer(grpc::Call& call, const std::shared_ptr<Request>& request, bool last) const override {
    if (last) {
      call.finish(request->failure);
    } else {
      call.send(payload("part " + std::to_string(parts_++)));
    }
  }
  Submitted* const submitted_;
  mutable int parts_ = 0;  // of the loop's thread
};

class ToyExchanges final : public http::HttpHandler, private Scheduled<http::Exchange> {
 public:
  ToyExchanges(const Frontend* frontend, Submitted* submitted) : Scheduled(frontend), submitted_(submitted) {}
  void on_request(http::Exchange& exchange) const override {
    auto request = waiting_request(frontend());
    read_request_info(exchange, &request->info);
    repeat_request_id(exchange);
    submit(exchange, request);
    submitted_->put(std::move(request));
  }
  void on_cancel(http::Exchange& exchange, const Status& why) const override { cancel(exchange, why); }

 private:
  void refuse(http::Exchange& exchange, const Status& why) const override {
    exchange.respond(503, "text/plain", payload(std::string(why.message())));
  }
  void write_answer(http::Exchange& exchange, const std::shared_ptr<Request>& request, bool last) const override {
    if (parts_ == 0) exchange.begin(200, "text/plain");
    exchange.send(payload(last ? std::string(request->failure.message()) : "part " + std::to_string(parts_++) + ","));
    if (last) exchange.end();
  }
  Submitted* const submitted_;
  mutable int parts_ = 0;  // of the loop's thread
};

class Words final : public http::ErrorWriter {
 public:
  int write(const Status& error, Payload* body) const override {
    body->append(error.message());
    return 400;
  }
};

class ScheduledTest : public LoopTest {
 protected:
  ScheduledTest() : relay_(&loop_, world_.scheduler.get(), metrics::Scope(&world_.figures)) {
    frontend_.scheduler = world_.scheduler.get();
    frontend_.slabs = world_.slabs.get();
    frontend_.figures = &world_.figures;
    frontend_.relays.resize(loop_.number() + 1);
    frontend_.relays[loop_.number()] = &relay_;
    grpc_routes_.add("/toy/Parts", std::make_unique<ToyCalls>(&frontend_, &submitted_));
    http_routes_.add("POST", "/parts", std::make_unique<ToyExchanges>(&frontend_, &submitted_), &errors_);
    add_services(frontend_, &grpc_routes_, &http_routes_);
    start();
  }
  PlainClient connect_grpc() {
    auto context = std::make_shared<http::Http2Context>();
    context->streams = grpc::make_call_factory({&grpc_routes_, 100U << 20U, "the_limit"});
    return connect([&](ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream) {
      return std::make_shared<http::Http2Connection>(set, std::move(socket), std::move(stream), 1, context);
    });
  }
  PlainClient connect_http() {
    auto context = std::make_shared<http::Http1Context>();
    context->routes = &http_routes_;
    return connect([&](ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream) {
      return std::make_shared<http::Http1Connection>(set, std::move(socket), std::move(stream), 1, context);
    });
  }
  // Answers the next request from another thread: in three parts, of which the last is the scheduler's own.
  std::thread answer_in_parts() {
    return std::thread([this] {
      const std::shared_ptr<Request> request = submitted_.take();
      info_ = request->info;
      for (int i = 0; i < 2; ++i) request->answer(request, false);
      world_.scheduler->cancel(request, Status::Cancelled("enough"));
    });
  }

  ProtocolWorld world_;
  AnswerRelay relay_;
  Frontend frontend_;
  grpc::Routes grpc_routes_;
  http::Routes http_routes_;
  Words errors_;
  Submitted submitted_;
  RequestInfo info_;
};

TEST_F(ScheduledTest, PartsOfAnAnswerAreMessagesOfAStream) {
  std::thread other = answer_in_parts();
  GrpcClient client(connect_grpc());
  const GrpcReply reply = client.call("/toy/Parts", "go");
  other.join();
  EXPECT_EQ(reply.data, GrpcClient::framed("part 0") + GrpcClient::framed("part 1"));
  EXPECT_EQ(reply.status(), static_cast<int>(Code::kCancelled));
  EXPECT_EQ(reply.text(), "enough");
}

TEST_F(ScheduledTest, PartsOfAnAnswerAreChunksOfABody) {
  std::thread other = answer_in_parts();
  PlainClient client = connect_http();
  client.send("POST /parts HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  const std::string got = client.receive_until_end();
  other.join();
  EXPECT_NE(got.find("\r\nTransfer-Encoding: chunked\r\n"), std::string::npos) << got;
  EXPECT_TRUE(got.ends_with("\r\n\r\n7\r\npart 0,\r\n7\r\npart 1,\r\n6\r\nenough\r\n0\r\n\r\n")) << got;
}

TEST_F(ScheduledTest, PartsForAClientThatHasLeftGoNowhere) {
  PlainClient client = connect_http();
  client.send("POST /parts HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  const std::shared_ptr<Request> request = submitted_.take();
  client.abort();
  eventually([&] { return request->progress.answered; }, "the end of a request whose client has left");
  request->answer = nullptr;
}

TEST_F(ScheduledTest, ARequestHasWhatItsClientSaysOfIt) {
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  {
    std::thread other = answer_in_parts();
    GrpcClient client(connect_grpc());
    const GrpcReply reply = client.call("/toy/Parts", "go", {{"x-request-id", "mine 1"}, {"traceparent", trace}});
    other.join();
    EXPECT_EQ(reply.headers.at("x-request-id"), "mine 1");
    EXPECT_EQ(info_.id, "mine 1");
    EXPECT_EQ(info_.traceparent, trace);
  }
  std::thread other = answer_in_parts();
  PlainClient client = connect_http();
  client.send("POST /parts HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine 2\r\nTraceParent: " + trace +
              "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  const std::string got = client.receive_until_end();
  other.join();
  EXPECT_NE(got.find("\r\nx-request-id: mine 2\r\n"), std::string::npos) << got;
  EXPECT_EQ(info_.id, "mine 2");
  EXPECT_EQ(info_.traceparent, trace);
}

TEST_F(ScheduledTest, WhoSaysNothingOfItsRequestGetsNothingBack) {
  std::thread other = answer_in_parts();
  GrpcClient client(connect_grpc());
  const GrpcReply reply = client.call("/toy/Parts", "go");
  other.join();
  EXPECT_EQ(reply.headers.count("x-request-id"), 0U);
  EXPECT_EQ(info_.id, "");
  EXPECT_EQ(info_.traceparent, "");
}

// The predecessor's protocols, for answers and for errors.
TEST_F(ScheduledTest, TheIdOfARequestIsRepeatedByBothFormsOfThePredecessor) {
  const auto post = [&](const std::string& method) {
    PlainClient client = connect_http();
    client.send("POST /model/add:" + method + " HTTP/1.1\r\nHost: x\r\nx-request-id: mine\r\nConnection: close\r\n" +
                "Content-Length: 17\r\n\r\n{\"instances\":{}} ");
    return client.receive_until_end();
  };
  for (const char* method : {"nothing", "nowhere"}) {
    const std::string got = post(method);
    EXPECT_TRUE(got.starts_with(method == std::string("nothing") ? "HTTP/1.1 200" : "HTTP/1.1 404")) << got;
    EXPECT_NE(got.find("\r\nx-request-id: mine\r\n"), std::string::npos) << got;
  }
  GrpcClient client(connect_grpc());
  for (const std::string& message : {std::string("\x0a\x0e\x0a\x03"
                                                 "add\x12\x07nothing\x12\x00",
                                                 18),
                                     std::string("\x0a")}) {
    const GrpcReply reply =
        client.call("/mindspore.serving.proto.MSService/Predict", message, {{"x-request-id", "mine"}});
    EXPECT_EQ(reply.status(), 0);
    EXPECT_EQ(reply.headers.at("x-request-id"), "mine");
  }
}

}  // namespace
}  // namespace servoir::service
