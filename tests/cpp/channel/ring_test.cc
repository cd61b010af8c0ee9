#include "channel/ring.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace servoir {
namespace {

// Memory that two processes can share.
class Shared {
 public:
  explicit Shared(std::uint32_t capacity) : bytes_(ring_bytes(capacity)) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(memory, MAP_FAILED);
    memory_ = static_cast<std::byte*>(memory);
    ring_format(memory_, capacity);
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { munmap(memory_, bytes_); }

  [[nodiscard]] std::byte* memory() const { return memory_; }
  // Places known from the grammar in ring.h: head, tail and sleeping have a cache line each, the data follows.
  [[nodiscard]] std::atomic<std::uint64_t>& head() const { return word<std::uint64_t>(0); }
  [[nodiscard]] std::atomic<std::uint64_t>& tail() const { return word<std::uint64_t>(64); }
  [[nodiscard]] std::atomic<std::uint32_t>& length(std::uint64_t position) const {
    return word<std::uint32_t>(192 + position);
  }

 private:
  template <typename T>
  [[nodiscard]] std::atomic<T>& word(std::uint64_t at) const {
    return *reinterpret_cast<std::atomic<T>*>(memory_ + at);
  }
  std::uint64_t bytes_;
  std::byte* memory_ = nullptr;
};

bool put(RingProducer* producer, std::span<const std::byte> record) {
  const auto bytes = static_cast<std::uint32_t>(record.size());
  const std::span<std::byte> place = producer->prepare(bytes);
  if (place.data() == nullptr) return false;
  EXPECT_EQ(place.size(), record.size());
  if (!record.empty()) std::memcpy(place.data(), record.data(), record.size());
  producer->commit(bytes);
  return true;
}
std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string take(RingConsumer* consumer) {
  auto record = consumer->peek();
  if (!record.ok()) return "<" + std::string(record.status().message()) + ">";
  if (!record->has_value()) return "<none>";
  std::string text(reinterpret_cast<const char*>((*record)->data()), (*record)->size());
  consumer->release();
  return text;
}

TEST(Ring, RecordsComeInOrder) {
  const Shared shared(4096);
  RingProducer producer(shared.memory(), 4096);
  RingConsumer consumer(shared.memory(), 4096);
  EXPECT_EQ(take(&consumer), "<none>");
  ASSERT_TRUE(put(&producer, bytes_of("one")));
  ASSERT_TRUE(put(&producer, bytes_of("")));
  ASSERT_TRUE(put(&producer, bytes_of("three")));
  EXPECT_EQ(take(&consumer), "one");
  EXPECT_EQ(take(&consumer), "");
  EXPECT_EQ(take(&consumer), "three");
  EXPECT_EQ(take(&consumer), "<none>");
}

TEST(Ring, PeekStaysUntilReleased) {
  const Shared shared(4096);
  RingProducer producer(shared.memory(), 4096);
  RingConsumer consumer(shared.memory(), 4096);
  ASSERT_TRUE(put(&producer, bytes_of("a")));
  ASSERT_TRUE(put(&producer, bytes_of("b")));
  const auto first = consumer.peek();
  const auto again = consumer.peek();
  EXPECT_EQ((*first)->data(), (*again)->data());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>((*first)->data()) % 8, 0U);
  EXPECT_EQ(take(&consumer), "a");
  EXPECT_EQ(take(&consumer), "b");
}

TEST(Ring, CommitMayCutTheRecord) {
  const Shared shared(4096);
  RingProducer producer(shared.memory(), 4096);
  RingConsumer consumer(shared.memory(), 4096);
  const std::span<std::byte> place = producer.prepare(1000);
  std::memcpy(place.data(), "short", 5);
  producer.commit(5);
  ASSERT_TRUE(put(&producer, bytes_of("next")));
  EXPECT_EQ(take(&consumer), "short");
  EXPECT_EQ(take(&consumer), "next");
}

TEST(Ring, PreparedButNotCommittedIsNotSeen) {
  const Shared shared(4096);
  RingProducer producer(shared.memory(), 4096);
  RingConsumer consumer(shared.memory(), 4096);
  ASSERT_EQ(producer.prepare(100).size(), 100U);
  EXPECT_EQ(take(&consumer), "<none>");
  ASSERT_TRUE(put(&producer, bytes_of("instead")));
  EXPECT_EQ(take(&consumer), "instead");
}

TEST(Ring, FullUntilReleased) {
  const Shared shared(4096);
  RingProducer producer(shared.memory(), 4096);
  RingConsumer consumer(shared.memory(), 4096);
  const std::vector<std::byte> record(504);  // 512 with its head
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(put(&producer, record));
  EXPECT_TRUE(producer.prepare(0).empty());
  EXPECT_EQ(producer.prepare(0).data(), nullptr);
  ASSERT_TRUE(consumer.peek()->has_value());
  EXPECT_EQ(producer.prepare(504).data(), nullptr);
  consumer.release();
  EXPECT_TRUE(put(&producer, record));
  EXPECT_FALSE(put(&producer, record));
}

TEST(Ring, TheLargestRecordFitsWhereverAnEmptyRingStands) {
  const Shared shared(4096);
  RingProducer producer(shared.memory(), 4096);
  RingConsumer consumer(shared.memory(), 4096);
  const std::uint32_t most = producer.max_record();
  EXPECT_EQ(most, 2040U);
  EXPECT_EQ(producer.prepare(most + 1).data(), nullptr);
  for (std::uint32_t step = 0; step < 4096; step += 8) {
    ASSERT_TRUE(put(&producer, std::vector<std::byte>(step % 64)));
    ASSERT_TRUE(consumer.peek()->has_value());
    consumer.release();
    ASSERT_TRUE(put(&producer, std::vector<std::byte>(most, static_cast<std::byte>(step))));
    const auto record = consumer.peek();
    ASSERT_TRUE(record.ok() && record->has_value());
    ASSERT_EQ((*record)->size(), most);
    ASSERT_EQ((**record)[most - 1], static_cast<std::byte>(step));
    consumer.release();
  }
}

// The first byte that is not zero, from the end.
std::uint64_t touched(const Shared& shared, std::uint64_t capacity) {
  const std::byte* data = shared.memory() + 192;
  std::uint64_t end = capacity;
  while (end > 0 && data[end - 1] == std::byte{0}) --end;
  return end;
}

TEST(Ring, LittleInUseTakesLittleMemory) {
  constexpr std::uint32_t kCapacity = 1U << 20U;
  const Shared shared(kCapacity);
  RingProducer producer(shared.memory(), kCapacity);
  RingConsumer consumer(shared.memory(), kCapacity);
  const std::string record(1000, 'x');
  ASSERT_TRUE(put(&producer, bytes_of(record)));
  for (int i = 0; i < 5000; ++i) {  // there is always one that waits
    ASSERT_TRUE(put(&producer, bytes_of(record)));
    ASSERT_EQ(take(&consumer), record);
  }
  EXPECT_LE(touched(shared, kCapacity), (64U << 10U) + 2 * 1008U);
}

TEST(Ring, MuchInUseTakesWhatThereIs) {
  constexpr std::uint32_t kCapacity = 1U << 18U;
  const Shared shared(kCapacity);
  RingProducer producer(shared.memory(), kCapacity);
  RingConsumer consumer(shared.memory(), kCapacity);
  std::uint64_t next = 0;
  std::uint64_t expected = 0;
  const auto record = [](std::uint64_t number) { return std::string(1000 + number % 7, static_cast<char>(number)); };
  for (int round = 0; round < 20; ++round) {
    std::uint64_t waiting = 0;
    while (put(&producer, bytes_of(record(next)))) {
      ++next;
      ++waiting;
    }
    EXPECT_GE(next - expected, kCapacity / 1024 - 70U) << "all but the rest before a wrap";
    for (std::uint64_t i = 0; i < waiting / 2; ++i) ASSERT_EQ(take(&consumer), record(expected++));
  }
  while (expected < next) ASSERT_EQ(take(&consumer), record(expected++));
  EXPECT_GT(touched(shared, kCapacity), kCapacity - 2048U);
}

TEST(Ring, CommitTellsWhetherTheConsumerSleeps) {
  const Shared shared(4096);
  RingProducer producer(shared.memory(), 4096);
  RingConsumer consumer(shared.memory(), 4096);
  auto send = [&] {
    EXPECT_NE(producer.prepare(8).data(), nullptr);
    return producer.commit(8);
  };
  EXPECT_FALSE(send());
  EXPECT_FALSE(consumer.prepare_sleep());  // there is a record
  EXPECT_FALSE(consumer.sleep_pending());
  take(&consumer);
  EXPECT_TRUE(consumer.prepare_sleep());
  EXPECT_TRUE(consumer.sleep_pending());
  EXPECT_TRUE(send());
  EXPECT_FALSE(consumer.sleep_pending());
  EXPECT_FALSE(send());  // woken once is enough
  take(&consumer);
  take(&consumer);
  EXPECT_TRUE(consumer.prepare_sleep());
  consumer.cancel_sleep();
  EXPECT_FALSE(send());
}

TEST(Ring, SleepEndsAtItsTimeAndWhenThereIsNoReasonToSleep) {
  const Shared shared(4096);
  RingConsumer consumer(shared.memory(), 4096);
  const auto start = std::chrono::steady_clock::now();
  consumer.sleep(-1);  // prepare_sleep() was not called: returns at once
  ASSERT_TRUE(consumer.prepare_sleep());
  consumer.sleep(5);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(5));
  EXPECT_FALSE(consumer.sleep_pending());
}

// Records of random sizes with content that tells their number.
constexpr std::uint32_t kCapacity = 1U << 16U;
std::uint32_t size_of(std::mt19937_64* random) {
  const std::uint64_t draw = (*random)();
  return static_cast<std::uint32_t>(draw % 64 == 0 ? draw / 64 % 8000 : draw / 64 % 120);
}
void fill(std::span<std::byte> place, std::uint64_t number) {
  for (std::size_t i = 0; i < place.size(); ++i) place[i] = static_cast<std::byte>(number * 31 + i);
}
bool is_filled(std::span<const std::byte> record, std::uint64_t number) {
  for (std::size_t i = 0; i < record.size(); ++i) {
    if (record[i] != static_cast<std::byte>(number * 31 + i)) return false;
  }
  return true;
}

void produce(std::byte* memory, std::uint64_t count) {
  RingProducer producer(memory, kCapacity);
  std::mt19937_64 random(11);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint32_t bytes = size_of(&random);
    std::span<std::byte> place = producer.prepare(bytes);
    while (place.data() == nullptr) {
      std::this_thread::yield();
      place = producer.prepare(bytes);
    }
    fill(place, i);
    if (producer.commit(bytes)) ring_wake(memory);
  }
}

// The number of the first record that was not right, or `count`.
std::uint64_t consume(std::byte* memory, std::uint64_t count) {
  RingConsumer consumer(memory, kCapacity);
  std::mt19937_64 random(11);
  for (std::uint64_t i = 0; i < count;) {
    const auto record = consumer.peek();
    if (!record.ok()) return i;
    if (!record->has_value()) {
      // A lost wake-up would show as a test that takes a minute and fails by its time limit.
      if (consumer.prepare_sleep()) consumer.sleep(-1);
      continue;
    }
    if ((*record)->size() != size_of(&random) || !is_filled(**record, i)) return i;
    consumer.release();
    ++i;
  }
  return count;
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kRecords = 200'000;
#else
constexpr std::uint64_t kRecords = 1'000'000;
#endif

TEST(Ring, TwoThreads) {
  const Shared shared(kCapacity);
  std::thread producer([&] { produce(shared.memory(), kRecords); });
  EXPECT_EQ(consume(shared.memory(), kRecords), kRecords);
  producer.join();
}

TEST(Ring, TwoProcesses) {
  const Shared shared(kCapacity);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    produce(shared.memory(), kRecords);
    _exit(0);
  }
  EXPECT_EQ(consume(shared.memory(), kRecords), kRecords);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// One record at a time, so that each end sleeps each time: every lost wake-up would hang it.
TEST(Ring, EveryWakeUpArrives) {
  constexpr int kRounds = 20'000;
  const Shared there(4096);
  const Shared back(4096);
  auto next = [](RingConsumer* consumer) {
    while (true) {
      const auto record = consumer->peek();
      ASSERT_TRUE(record.ok());
      if (record->has_value()) break;
      if (consumer->prepare_sleep()) consumer->sleep(-1);
    }
    consumer->release();
  };
  auto send = [](RingProducer* producer, std::byte* memory) {
    ASSERT_NE(producer->prepare(8).data(), nullptr);
    if (producer->commit(8)) ring_wake(memory);
  };
  std::thread echo([&] {
    RingConsumer consumer(there.memory(), 4096);
    RingProducer producer(back.memory(), 4096);
    for (int i = 0; i < kRounds; ++i) {
      next(&consumer);
      send(&producer, back.memory());
    }
  });
  RingProducer producer(there.memory(), 4096);
  RingConsumer consumer(back.memory(), 4096);
  for (int i = 0; i < kRounds; ++i) {
    send(&producer, there.memory());
    next(&consumer);
  }
  echo.join();
}

// ---- a producer that writes nonsense ----------------------------------------------------------------------------

void expect_broken(RingConsumer* consumer, std::string_view what) {
  const auto record = consumer->peek();
  ASSERT_FALSE(record.ok()) << what;
  EXPECT_EQ(record.status().code(), Code::kInternal);
  EXPECT_FALSE(consumer->peek().ok()) << "must stay broken: " << what;
}

TEST(RingFaults, LengthBeyondWhatIsPublished) {
  for (const std::uint32_t length : {9U, 16U, 4096U, 0x7fffffffU, 0xfffffff0U, 0xfffffffeU}) {
    const Shared shared(4096);
    RingProducer producer(shared.memory(), 4096);
    RingConsumer consumer(shared.memory(), 4096);
    ASSERT_TRUE(put(&producer, bytes_of("8 bytes.")));
    shared.length(0) = length;
    expect_broken(&consumer, std::to_string(length));
  }
}

TEST(RingFaults, LengthBeyondTheEndOfTheData) {
  const Shared shared(4096);
  RingConsumer consumer(shared.memory(), 4096);
  RingProducer producer(shared.memory(), 4096);
  ASSERT_TRUE(put(&producer, std::vector<std::byte>(2040)));
  ASSERT_TRUE(put(&producer, std::vector<std::byte>(1016)));
  take(&consumer);
  take(&consumer);
  // 1024 bytes are left before the end; the record claims more, and the tail agrees with it.
  shared.length(3072) = 2000;
  shared.tail() = 3072 + 2008;
  expect_broken(&consumer, "crosses the end");
}

TEST(RingFaults, TailOutsideOfTheRing) {
  for (const std::uint64_t tail :
       {std::uint64_t{4104}, std::uint64_t{12}, ~std::uint64_t{0} - 7, std::uint64_t{1} << 40U}) {
    const Shared shared(4096);
    RingConsumer consumer(shared.memory(), 4096);
    shared.tail() = tail;
    expect_broken(&consumer, std::to_string(tail));
  }
}

TEST(RingFaults, TailThatGoesBack) {
  const Shared shared(4096);
  RingProducer producer(shared.memory(), 4096);
  RingConsumer consumer(shared.memory(), 4096);
  ASSERT_TRUE(put(&producer, bytes_of("x")));
  EXPECT_EQ(take(&consumer), "x");
  shared.tail() = 8;
  expect_broken(&consumer, "tail behind head");
}

TEST(RingFaults, WrapMarks) {
  {
    const Shared shared(4096);
    RingConsumer consumer(shared.memory(), 4096);
    shared.length(0) = 0xffffffffU;  // nothing to skip to
    shared.tail() = 4096;
    expect_broken(&consumer, "wrap at the start");
  }
  {
    const Shared shared(4096);
    RingProducer producer(shared.memory(), 4096);
    RingConsumer consumer(shared.memory(), 4096);
    ASSERT_TRUE(put(&producer, bytes_of("x")));
    EXPECT_EQ(take(&consumer), "x");
    shared.length(16) = 0xffffffffU;
    shared.tail() = 4096;  // the mark, but nothing after it
    expect_broken(&consumer, "wrap without a record");
  }
  {
    const Shared shared(4096);
    RingProducer producer(shared.memory(), 4096);
    RingConsumer consumer(shared.memory(), 4096);
    ASSERT_TRUE(put(&producer, bytes_of("x")));
    EXPECT_EQ(take(&consumer), "x");
    shared.length(16) = 0xffffffffU;
    shared.length(0) = 0xffffffffU;  // one after the other
    shared.tail() = 4096 + 16;
    expect_broken(&consumer, "wrap after wrap");
  }
}

TEST(RingFaults, AHeadOutsideOfTheRingMeansFull) {
  for (const std::uint64_t head : {std::uint64_t{4104}, ~std::uint64_t{0}, std::uint64_t{1} << 40U}) {
    const Shared shared(4096);
    RingProducer producer(shared.memory(), 4096);
    const std::vector<std::byte> record(504);
    for (int i = 0; i < 7; ++i) ASSERT_TRUE(put(&producer, record));
    shared.head() = head;
    EXPECT_TRUE(put(&producer, record));  // the room that the producer knew of before
    EXPECT_FALSE(put(&producer, record)) << head;
  }
}

}  // namespace
}  // namespace servoir
