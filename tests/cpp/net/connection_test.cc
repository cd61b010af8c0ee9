#include "net/connection.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>

#include "support/loop_fixture.h"

namespace servoir {
namespace {

using std::chrono::milliseconds;

// Keeps what comes, and does what the test wants. All fields belong to the loop's thread.
struct Seen {
  std::string input;
  int input_ends = 0;
  int closed = 0;
  int flushes = 0;
  int sweeps = 0;
  bool wants_input = true;
  bool waits_for_peer = true;
  bool has_work = false;
  int drains = 0;
  std::string goodbye;
  std::function<void(std::string_view)> on_input;
  std::function<void()> on_flush;
  std::function<void()> on_input_end;
  int probes = 0;
};

class Talker final : public Connection {
 public:
  Talker(ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream, Seen* seen)
      : Connection(set, std::move(socket), std::move(stream), 7), seen_(seen) {}
  using Connection::close_after_output;
  using Connection::need_flush;
  using Connection::output;

 private:
  void on_input(std::span<const std::byte> bytes) override {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    seen_->input += text;
    if (seen_->on_input) seen_->on_input(text);
  }
  void on_input_end() override {
    ++seen_->input_ends;
    if (seen_->on_input_end) {
      seen_->on_input_end();
    } else {
      abort();
    }
  }
  void probe() override {
    ++seen_->probes;
    output().append("?");
    need_flush();
  }
  void on_flush() override {
    ++seen_->flushes;
    if (seen_->on_flush) seen_->on_flush();
  }
  bool wants_input() const override { return seen_->wants_input; }
  bool is_waiting_for_peer() const override { return seen_->waits_for_peer; }
  bool has_work() const override { return seen_->has_work; }
  void on_drain() override { ++seen_->drains; }
  void on_sweep(std::uint32_t /*silent*/) override { ++seen_->sweeps; }
  void on_goodbye() override { output().append(seen_->goodbye); }
  void on_closed() override { ++seen_->closed; }

  Seen* const seen_;
};

class ConnectionTest : public LoopTest {
 protected:
  PlainClient connect_talker(bool tcp = false) {
    const auto make = [&](ConnectionSet* set, UniqueFd socket, std::unique_ptr<ByteStream> stream) {
      auto made = std::make_shared<Talker>(set, std::move(socket), std::move(stream), &seen_);
      talker_ = made;
      return made;
    };
    return tcp ? connect_tcp(make) : connect(make);
  }
  // In the loop.
  void with_talker(const std::function<void(Talker&)>& work) {
    loop_.run_and_wait([&] {
      const auto talker = talker_.lock();
      ASSERT_NE(talker, nullptr);
      work(*talker);
    });
  }
  [[nodiscard]] bool gone() {
    bool expired = false;
    loop_.run_and_wait([&] { expired = talker_.expired(); });
    return expired;
  }

  Seen seen_;
  std::weak_ptr<Talker> talker_;
};

TEST_F(ConnectionTest, TakesInputAndSendsAtTheEndOfTheTurn) {
  start();
  seen_.on_input = [&](std::string_view text) {
    const auto talker = talker_.lock();
    talker->output().append("<");
    talker->output().append(text);
    talker->output().append(">");
    talker->need_flush();
    talker->need_flush();
  };
  PlainClient client = connect_talker();
  with_talker([&](Talker& talker) { EXPECT_EQ(talker.listener(), 7U); });
  client.send("hello");
  EXPECT_EQ(client.receive(), "<hello>");
  client.send("again");
  EXPECT_EQ(client.receive(), "<again>");
  EXPECT_EQ(set_->size(), 1U);
}

TEST_F(ConnectionTest, EndsWhenThePeerEnds) {
  start();
  PlainClient client = connect_talker();
  client.send("last");
  client.end();
  eventually([&] { return seen_.closed == 1; }, "the end");
  loop_.run_and_wait([&] {
    EXPECT_EQ(seen_.input, "last");
    EXPECT_EQ(seen_.input_ends, 1);
  });
  EXPECT_EQ(client.receive(), "");
  eventually([&] { return talker_.expired(); }, "the last reference is let go of");
  EXPECT_EQ(set_->size(), 0U);
}

TEST_F(ConnectionTest, AbortDropsWhatWasNotSentAndTellsOnce) {
  start();
  PlainClient client = connect_talker();
  with_talker([&](Talker& talker) {
    talker.output().append("never sent");
    talker.abort();
    EXPECT_TRUE(talker.closed());
    talker.abort();
    talker.goodbye();
    talker.need_flush();
  });
  EXPECT_EQ(client.receive_until_end(), "");
  loop_.run_and_wait([&] { EXPECT_EQ(seen_.closed, 1); });
  EXPECT_TRUE(gone());
}

TEST_F(ConnectionTest, SaysGoodbyeAndCloses) {
  start();
  seen_.goodbye = "so long";
  PlainClient client = connect_talker();
  with_talker([](Talker& talker) { talker.goodbye(); });
  EXPECT_EQ(client.receive_until_end(), "so long");
  EXPECT_FALSE(gone()) << "the client may be sending, which a closed socket would answer with a reset";
  client.end();
  eventually([&] { return gone(); }, "the end of the connection");
  loop_.run_and_wait([&] { EXPECT_EQ(seen_.closed, 1); });
}

TEST_F(ConnectionTest, ReadsWhatHasComeBeforeItSaysGoodbye) {
  start();
  seen_.goodbye = "so long";
  PlainClient client = connect_talker();
  loop_.run_and_wait([&] {  // so that the loop has not seen yet that there is input
    client.send("a word");
    talker_.lock()->goodbye();
  });
  EXPECT_EQ(client.receive_until_end(), "so long");
  loop_.run_and_wait([&] { EXPECT_EQ(seen_.input, "a word"); });
}

TEST_F(ConnectionTest, IsBusyWhileItHasWorkOrOutput) {
  start();
  PlainClient client = connect_talker();
  with_talker([&](Talker& talker) {
    EXPECT_FALSE(talker.is_busy());
    seen_.has_work = true;
    EXPECT_TRUE(talker.is_busy());
    seen_.has_work = false;
    talker.output().append("answer");
    EXPECT_TRUE(talker.is_busy());
    talker.close_after_output();
    seen_.has_work = true;  // which does not count any more
  });
  EXPECT_EQ(client.receive_until_end(), "answer");
  with_talker([](Talker& talker) { EXPECT_FALSE(talker.is_busy()); });
}

// The peer still sends while the last output is on its way; a close with input that was not read would reset the
// connection and could overtake that output.
TEST_F(ConnectionTest, ClosesAfterItsOutputAndThrowsAwayWhatStillComes) {
  start();
  seen_.on_input = [&](std::string_view) {
    const auto talker = talker_.lock();
    talker->output().append("the end");
    talker->close_after_output();
  };
  PlainClient client = connect_talker();
  client.send("go");
  EXPECT_EQ(client.receive(), "the end");
  EXPECT_EQ(client.receive(), "") << "our side has ended";
  for (int i = 0; i < 50; ++i) client.send(std::string(10'000, 'x'));
  loop_.run_and_wait([&] {
    EXPECT_EQ(seen_.input, "go");
    EXPECT_EQ(seen_.closed, 0) << "until the peer has ended, too";
  });
  client.end();
  eventually([&] { return seen_.closed == 1; }, "the end");
  loop_.run_and_wait([&] {
    EXPECT_EQ(seen_.input, "go");
    EXPECT_EQ(seen_.input_ends, 0);
  });
}

TEST_F(ConnectionTest, APeerThatDoesNotReadIsAskedForNoMoreAndGivenNoMore) {
  start();
  constexpr std::size_t kAll = 8U << 20U;
  std::size_t made = 0;
  std::size_t most = 0;
  seen_.on_flush = [&] {
    const auto talker = talker_.lock();
    while (made < kAll && talker->output().size() < Connection::kHighWater) {
      talker->output().append(std::string(64 * 1024, 'x'));
      made += 64 * 1024;
      most = std::max(most, talker->output().size());
    }
  };
  PlainClient client = connect_talker();
  with_talker([](Talker& talker) { talker.need_flush(); });
  eventually([&] { return made >= Connection::kHighWater; }, "as much output as is kept");
  std::size_t stuck = 0;
  loop_.run_and_wait([&] { stuck = made; });
  client.send("one.");  // was waited for already
  eventually([&] { return seen_.input == "one."; }, "the first input");
  client.send("two.");
  for (int i = 0; i < 3; ++i) loop_.run_and_wait([] {});
  loop_.run_and_wait([&] {
    EXPECT_EQ(made, stuck) << "nothing is made that nobody takes";
    EXPECT_EQ(seen_.input, "one.") << "nor is a further request read";
  });
  std::size_t got = 0;
  while (got < kAll) {
    const std::string bytes = client.receive();
    ASSERT_FALSE(bytes.empty());
    got += bytes.size();
  }
  EXPECT_EQ(got, kAll);
  eventually([&] { return seen_.input == "one.two."; }, "input is read again");
  loop_.run_and_wait([&] { EXPECT_LT(most, Connection::kHighWater + 64 * 1024); });
  loop_.run_and_wait([&] { seen_.on_flush = nullptr; });  // what it refers to ends with this test's body
}

TEST_F(ConnectionTest, ReadsNothingThatIsNotWanted) {
  start();
  seen_.on_input = [&](std::string_view) { seen_.wants_input = false; };
  PlainClient client = connect_talker();
  client.send("one");
  eventually([&] { return seen_.input == "one"; }, "the first input");
  client.send("two");
  loop_.run_and_wait([] {});
  loop_.run_and_wait([&] {
    EXPECT_EQ(seen_.input, "one");
    seen_.wants_input = true;
    talker_.lock()->need_flush();  // wants_input() is looked at after each flush
  });
  eventually([&] { return seen_.input == "onetwo"; }, "the second input");
}

TEST_F(ConnectionTest, KeepsItsOwnDecisionWhenThePeerHasEnded) {
  start();
  seen_.on_input_end = [&] {
    const auto talker = talker_.lock();
    talker->output().append("answered after the end");
    talker->close_after_output();
  };
  PlainClient client = connect_talker();
  client.end();
  EXPECT_EQ(client.receive_until_end(), "answered after the end");
  eventually([&] { return seen_.closed == 1; }, "the end");
}

// It is asked whether it is still there, more and more seldom, and what it waits for can come much later.
TEST_F(ConnectionTest, APeerThatHasEndedItsSideMayWait) {
  start({milliseconds(2), 3});
  seen_.waits_for_peer = false;
  seen_.on_input_end = [] {};
  for (const bool tcp : {false, true}) {
    seen_.probes = 0;
    PlainClient client = connect_talker(tcp);
    client.end();
    eventually([&] { return seen_.probes == 4; }, "probes");
    with_talker([](Talker& talker) {
      talker.output().append("!");
      talker.close_after_output();
    });
    const std::string got = client.receive_until_end();
    EXPECT_EQ(got.find_first_not_of('?'), got.size() - 1) << got;
    EXPECT_EQ(got.back(), '!');
    eventually([&] { return talker_.expired(); }, "the end, without a wait");
  }
  loop_.run_and_wait([&] { EXPECT_EQ(seen_.closed, 2); });
}

TEST_F(ConnectionTest, APeerThatGoesAfterItsEndIsFoundOut) {
  start({milliseconds(20), 100'000});
  seen_.waits_for_peer = false;
  seen_.on_input_end = [] {};
  int ends = 0;
  for (const bool tcp : {false, true}) {
    for (const bool resets : {false, true}) {
      PlainClient client = connect_talker(tcp);
      client.end();
      ++ends;
      eventually([&] { return seen_.input_ends == ends; }, "the peer's end");
      resets ? client.abort() : client.close();
      eventually([&] { return talker_.expired(); }, tcp ? "the end of TCP" : "the end of a Unix socket");
    }
  }
  loop_.run_and_wait([&] { EXPECT_EQ(seen_.closed, 4); });
}

// It has asked for more than the kernel keeps, has ended its side, and reads nothing.
TEST_F(ConnectionTest, EndsAPeerThatHasEndedItsSideAndDoesNotRead) {
  start({milliseconds(5), 3});
  seen_.waits_for_peer = false;
  seen_.on_input_end = [&] {
    const auto talker = talker_.lock();
    talker->output().append(std::string(4U << 20U, 'x'));
    talker->close_after_output();
  };
  PlainClient client = connect_talker();
  client.end();
  eventually([&] { return seen_.closed == 1; }, "the end");
}

TEST_F(ConnectionTest, EndsAPeerThatSendsNothingForTooLong) {
  start({milliseconds(5), 3});
  PlainClient client = connect_talker();
  EXPECT_EQ(client.receive_until_end(), "");
  eventually([&] { return seen_.closed == 1; }, "the end");
  loop_.run_and_wait([&] { EXPECT_GE(seen_.sweeps, 2); });
}

TEST_F(ConnectionTest, APeerThatOwesNothingMayBeSilent) {
  start({milliseconds(2), 3});
  seen_.waits_for_peer = false;
  PlainClient client = connect_talker();
  eventually([&] { return seen_.sweeps > 20; }, "many sweeps");
  loop_.run_and_wait([&] { EXPECT_EQ(seen_.closed, 0); });
  client.send("still here");
  eventually([&] { return seen_.input == "still here"; }, "input");
}

TEST_F(ConnectionTest, EndsAPeerThatDoesNotTakeItsAnswer) {
  start({milliseconds(5), 3});
  seen_.waits_for_peer = false;
  PlainClient client = connect_talker();
  with_talker([](Talker& talker) {
    talker.output().append(std::string(4U << 20U, 'x'));
    talker.need_flush();
  });
  eventually([&] { return seen_.closed == 1; }, "the end");
}

TEST_F(ConnectionTest, OutputThatNobodyReadsKeepsNoMoreMemoryThanItHasBytes) {
  const std::unique_ptr<Arena> arena = Arena::create(64U << 20U).value();
  constexpr std::size_t kRow = 100'000;
  start({milliseconds(5), 100'000});
  PlainClient client = connect_talker();
  with_talker([&](Talker& talker) {
    talker.output().append(std::string(4U << 20U, 'x'));
    // Two rows of a batch of 64.
    BlockRef batch = arena->allocate(64 * kRow).value();
    char* row = reinterpret_cast<char*>(batch->data()) + 7 * kRow;
    std::memset(row, 'a', kRow);
    std::memset(row + kRow, 'b', kRow);
    talker.output().append(std::string_view(row, kRow), batch);
    Payload payload;
    payload.append(TensorRef{batch, batch->offset() + 8 * kRow, kRow, DataType::kUint8, {kRow}});
    talker.output().append(std::move(payload));
    talker.need_flush();
  });
  eventually([&] { return arena->usage().in_use < 3 * kRow; }, "the batch's memory back");
  std::string all;
  while (all.size() < (4U << 20U) + 2 * kRow) all += client.receive();
  EXPECT_EQ(all.find_first_not_of('x'), 4U << 20U);
  EXPECT_TRUE(all.substr(4U << 20U) == std::string(kRow, 'a') + std::string(kRow, 'b'));
  eventually([&] { return arena->usage().in_use == 0; }, "no memory in use");
}

TEST_F(ConnectionTest, ALingeringPeerIsLetGoOfAfterAWhile) {
  start({milliseconds(5), 1000});
  seen_.on_input = [&](std::string_view) { talker_.lock()->close_after_output(); };
  PlainClient client = connect_talker();
  client.send("x");
  eventually([&] { return seen_.closed == 1; }, "the end, although the peer has not ended");
}

}  // namespace
}  // namespace servoir
