#include "net/connection_set.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/loop_fixture.h"

namespace servoir {
namespace {

using std::chrono::milliseconds;

// What several connections share; belongs to the loop's thread.
struct Log {
  std::vector<std::string> lines;
};

class Named final : public Connection {
 public:
  Named(ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream, std::uint32_t listener, Log* log)
      : Connection(set, std::move(socket), std::move(stream), listener), log_(log) {}

 private:
  void note(const std::string& what) { log_->lines.push_back(what + " " + std::to_string(listener())); }
  void on_input(std::span<const std::byte> /*bytes*/) override {
    output().append("for " + std::to_string(listener()));
    need_flush();
  }
  void on_flush() override { note("flush"); }
  bool is_waiting_for_peer() const override { return false; }
  bool has_work() const override { return true; }
  void on_drain() override { note("drain"); }
  void on_goodbye() override { output().append("goodbye"); }
  void on_closed() override { note("closed"); }

  Log* const log_;
};

class ConnectionSetTest : public LoopTest {
 protected:
  PlainClient connect_named(std::uint32_t number) {
    return connect([&](ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream) {
      return std::make_shared<Named>(set, std::move(socket), std::move(stream), number, &log_);
    });
  }

  Log log_;
};

TEST_F(ConnectionSetTest, CountsItsConnections) {
  start();
  EXPECT_EQ(set_->size(), 0U);
  PlainClient first = connect_named(1);
  {
    const PlainClient second = connect_named(2);
    EXPECT_EQ(set_->size(), 2U);
  }
  eventually([&] { return set_->size() == 1; }, "the end of the second connection");
  loop_.run_and_wait([&] { EXPECT_EQ(log_.lines, std::vector<std::string>{"closed 2"}); });
}

TEST_F(ConnectionSetTest, SaysGoodbyeToThoseThatArePicked) {
  start();
  std::vector<PlainClient> clients;
  for (std::uint32_t number = 0; number < 4; ++number) clients.push_back(connect_named(number));
  loop_.run_and_wait([&] { set_->end_if([](const Connection& one) { return one.listener() % 2 == 1; }); });
  EXPECT_EQ(clients[1].receive_until_end(), "goodbye");
  EXPECT_EQ(clients[3].receive_until_end(), "goodbye");
  clients[1].end();
  clients[3].end();
  eventually([&] { return set_->size() == 2; }, "the end of those that were picked");
  clients[2].send("x");
  EXPECT_EQ(clients[2].receive(), "for 2");
}

TEST_F(ConnectionSetTest, TellsThoseThatAreThereOfTheEnd) {
  start();
  const PlainClient first = connect_named(1);
  loop_.run_and_wait([&] {
    log_.lines.clear();
    set_->drain();
    EXPECT_EQ(log_.lines, std::vector<std::string>{"drain 1"});
  });
  const PlainClient late = connect_named(2);
  eventually([&] { return set_->size() == 2; }, "the second connection");
  loop_.run_and_wait([&] {
    set_->end_if([](const Connection& one) {
      EXPECT_EQ(one.is_late(), one.listener() == 2);
      return false;
    });
    EXPECT_EQ(set_->busy(), 1U) << "nothing has been promised to those that came later";
    set_->abort_all();
    EXPECT_EQ(set_->size(), 0U);
  });
}

TEST_F(ConnectionSetTest, FlushesEachOnceATurnAfterAllThatIsReady) {
  start();
  PlainClient client = connect_named(5);
  int steps = 0;
  loop_.run_and_wait([&] {
    std::shared_ptr<Connection> only;
    set_->end_if([&](const Connection& one) {  // to get hold of it: none is picked
      only = std::const_pointer_cast<Connection>(one.shared_from_this());
      return false;
    });
    log_.lines.clear();
    loop_.post([&] {
      ++steps;
      EXPECT_TRUE(log_.lines.empty()) << "the turn has not ended";
    });
    set_->need_flush(only);
    EXPECT_TRUE(log_.lines.empty());
  });
  eventually([&] { return !log_.lines.empty(); }, "the flush");
  loop_.run_and_wait([&] {
    EXPECT_EQ(steps, 1);
    EXPECT_EQ(log_.lines, std::vector<std::string>{"flush 5"});
  });
}

TEST_F(ConnectionSetTest, SweepsWhileThereIsAConnection) {
  start({milliseconds(2), 20});
  loop_.run_and_wait([&] { EXPECT_EQ(set_->sweeps(), 0U); });
  PlainClient client = connect_named(1);
  eventually([&] { return set_->sweeps() >= 3; }, "sweeps");
  client.end();
  eventually([&] { return set_->size() == 0; }, "the end of the connection");
  EXPECT_EQ(set_->idle_sweeps(), 20U);
}

}  // namespace
}  // namespace servoir
