// What a PredictRequest that is still on its way holds of the arena.

#include "protocol/seed/predict_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "seed/predict_messages.h"

namespace servoir::seed {
namespace {

using namespace messages;  // NOLINT(google-build-using-namespace)

class PredictStreamMemory : public ::testing::Test {
 protected:
  std::unique_ptr<PredictStream> announce(const std::string& message, std::size_t come) {
    auto stream = std::make_unique<PredictStream>(message.size(), world.scheduler.get(), world.slabs.get());
    EXPECT_TRUE(stream->feed(as_bytes(message).first(come)).ok());
    return stream;
  }
  static std::string of_bytes(std::size_t bytes) {
    std::string data(bytes, 'a');
    for (std::size_t i = 0; i < bytes; i += 97) data[i] = static_cast<char>(i);
    return request(spec("echo"), {instance({{"x", tensor({static_cast<std::int64_t>(bytes)}, 3, data)}})});
  }
  // As a hundred streams that have announced much would: nothing more may be reserved for announcements.
  void use_up_budget() { ASSERT_TRUE(stalled.add(world.slabs->announced()->limit())); }
  void expect_same(const std::string& message, std::size_t piece) {
    EXPECT_TRUE(result_text(read_stream(&world, message, {piece})) == result_text(read_whole(&world, message)))
        << message.size() << " bytes in pieces of " << piece;
  }

  static constexpr std::uint64_t kArena = 128U << 20U;
  ProtocolWorld world{kArena};
  MemoryShare stalled{world.slabs->announced(), 0};
};

TEST_F(PredictStreamMemory, AnnouncementsTakeAQuarterOfTheArenaAndTheOthersAreServed) {
  const std::string announced = of_bytes(6U << 20U);
  std::vector<std::unique_ptr<PredictStream>> streams;
  for (int i = 0; i < 50; ++i) streams.push_back(announce(announced, 200));
  EXPECT_LE(world.slabs->announced()->used(), world.slabs->announced()->limit());
  // Slabs are whole ones, of up to 16 MiB; and each stream may have a little.
  EXPECT_LE(world.arena->usage().in_use, world.slabs->announced()->used() + (16U << 20U) + 50U * (64U << 10U));
  EXPECT_GT(world.arena->usage().in_use, 2U * (6U << 20U));  // a few did get all
  {
    const std::string good = of_bytes(20U << 20U);
    const auto read = read_stream(&world, good, {100'000});
    ASSERT_TRUE(read.ok()) << read.status().message();
    const TensorRef& x = (*read)->at(0, 0);
    EXPECT_EQ(std::memcmp(x.data(), good.data() + good.size() - x.bytes, x.bytes), 0);
  }
  // Those which go on are served as well.
  for (const std::size_t i : {std::size_t{0}, std::size_t{49}}) {
    ASSERT_TRUE(streams[i]->feed(as_bytes(announced).subspan(200)).ok());
    EXPECT_TRUE(streams[i]->finish().ok()) << i;
  }
}

TEST_F(PredictStreamMemory, AMessageThatIsAloneIsPlacedAtOnce) {
  const std::string message = of_bytes(40U << 20U);
  const auto stream = announce(message, 1000);
  EXPECT_GE(world.arena->usage().in_use, 40U << 20U);
  EXPECT_GT(stream->next_destination().size(), 39U << 20U);
  EXPECT_LE(world.slabs->announced()->used(), message.size());
}

TEST_F(PredictStreamMemory, TheBudgetIsGivenBackAsBytesCome) {
  const std::string message = of_bytes(10U << 20U);
  auto stream = announce(message, 1000);
  EXPECT_GT(world.slabs->announced()->used(), 9U << 20U);
  for (std::size_t come = 1000; come + 50'000 < message.size(); come += 50'000) {
    ASSERT_TRUE(stream->feed(as_bytes(message).subspan(come, 50'000)).ok());
    const std::uint64_t left = message.size() - come - 50'000;
    EXPECT_GE(world.slabs->announced()->used(), left);
    EXPECT_LE(world.slabs->announced()->used(), left + (1U << 20U));
  }
  stream.reset();
  EXPECT_EQ(world.slabs->announced()->used(), 0U);
}

TEST_F(PredictStreamMemory, WithoutBudgetRoomFollowsWhatHasCome) {
  use_up_budget();
  const std::string message = of_bytes(16U << 20U);
  const auto stream = announce(message, 100);
  std::size_t come = 100;
  for (const std::size_t until :
       {std::size_t{1000}, std::size_t{100'000}, std::size_t{1'000'000}, std::size_t{3'000'000}}) {
    while (come < until) {
      const std::size_t piece = std::min<std::size_t>(until - come, 16384);
      ASSERT_TRUE(stream->feed(as_bytes(message).subspan(come, piece)).ok());
      come += piece;
    }
    EXPECT_LE(world.arena->usage().in_use, 4 * come + 65536) << come;
    EXPECT_LE(stream->next_destination().size(), come + 65536);
  }
}

TEST_F(PredictStreamMemory, WithoutBudgetEverythingIsReadAlike) {
  use_up_budget();
  std::vector<std::string> rows;
  for (int i = 0; i < 30; ++i) {
    rows.push_back(instance({{"x1", floats(std::vector<float>(20000, static_cast<float>(i)))}, {"x2", floats({1})}}));
  }
  const std::string text_value(300'000, 'z');
  for (const std::string& message :
       {of_bytes(70'000), of_bytes(1'000'000), request(spec("add"), rows),
        request(spec("echo"), {instance({{"x", text({}, 13, {text_value})}})}),
        request(spec("echo"), {instance({{"x", text({}, 13, {text_value + "\xff"})}})}),
        // The value before the key, and the spec at the end: both are held.
        request(spec("echo"), {field(1, field(2, tensor({200'000}, 3, std::string(200'000, 'h'))) + field(1, "x"))}),
        field(2, instance({{"x", tensor({200'000}, 3, std::string(200'000, 'h'))}})) + field(1, spec("echo"))}) {
    for (const std::size_t piece : {std::size_t{16384}, std::size_t{100'003}, message.size()}) {
      expect_same(message, piece);
    }
  }
}

TEST_F(PredictStreamMemory, WithoutBudgetRowsAreReservedForWhatHasCome) {
  use_up_budget();
  std::string message = request(spec("echo"), {instance({{"x", tensor({1000}, 3, std::string(1000, 'a'))}})});
  const std::size_t first = message.size();
  const std::string more = field(2, instance({{"x", tensor({1000}, 3, std::string(1000, 'b'))}}));
  for (int i = 0; i < 40'000; ++i) message += more;
  const auto stream = announce(message, first + 500);
  EXPECT_LT(world.arena->usage().in_use, 1U << 20U);
}

// Received in place, as the transport does it: what is in place already is not copied, and the rest follows.
TEST_F(PredictStreamMemory, BytesCanBeReceivedInPlaceWhileRoomGrows) {
  use_up_budget();
  const std::string message = of_bytes(2'000'000);
  PredictStream stream(message.size(), world.scheduler.get(), world.slabs.get());
  std::mt19937 random(3);
  std::size_t at = 0;
  while (at < message.size()) {
    const std::span<std::byte> place = stream.next_destination();
    const std::size_t bytes = std::min<std::size_t>(message.size() - at, random() % 40'000 + 1);
    const std::size_t in_place = std::min(bytes, place.size());
    if (in_place != 0) {
      std::memcpy(place.data(), message.data() + at, in_place);
      ASSERT_TRUE(stream.feed({place.data(), in_place}).ok());
    }
    ASSERT_TRUE(stream.feed(as_bytes(message).subspan(at + in_place, bytes - in_place)).ok());
    at += bytes;
  }
  EXPECT_TRUE(result_text(stream.finish()) == result_text(read_whole(&world, message)));
}

}  // namespace
}  // namespace servoir::seed
