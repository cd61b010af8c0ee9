// A Server with the adder servable, and a gate at which its worker can be held.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "adder.h"
#include "server/server.h"
#include "support/grpc_client.h"
#include "support/plain_client.h"
#include "support/predict_call.h"

namespace servoir {

// Held: the worker takes a batch and waits.
class Gate {
 public:
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  // In the worker.
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
  }
  // Until the worker has come to the gate for the n-th time.
  void wait_for_arrival(int n) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::milliseconds(kTestPatienceMs), [&] { return arrived_ >= n; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  int arrived_ = 0;
};

class ServerTest : public testing::Test {
 protected:
  void start(ServerOptions options = {}, std::uint32_t max_batch = 64) {
    options.arena_limit = std::max<std::uint64_t>(options.arena_limit, 256U << 20U);
    server_ = Server::create(options).value();
    servable_ = server_->publish(adder_spec("w1", max_batch)).value();
    adder_ = std::make_unique<Adder>(server_.get(), servable_, [this] { gate_.pass(); });
  }
  std::string listen(Protocol protocol, std::uint64_t max_message_bytes = 100U << 20U,
                     const std::string& address = "127.0.0.1:0") {
    listener_ = server_->listen(address, protocol, max_message_bytes).value();
    return server_->listener_address(listener_).value();
  }
  // For what is told to nobody: looks again until it is so.
  void eventually(const std::function<bool()>& is_so, const char* what) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kTestPatienceMs);
    while (!is_so()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << what;
      std::this_thread::yield();
    }
  }
  void TearDown() override {
    gate_.open();
    if (server_) server_->stop();
    adder_.reset();
    server_.reset();
  }

  Gate gate_;
  std::unique_ptr<Server> server_;
  ServableId servable_ = 0;
  std::uint32_t listener_ = 0;
  std::unique_ptr<Adder> adder_;
};

}  // namespace servoir
