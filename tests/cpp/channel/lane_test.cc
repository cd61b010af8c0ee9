#include "channel/lane.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace servoir {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text_of(std::span<const std::byte> record) {
  return {reinterpret_cast<const char*>(record.data()), record.size()};
}

bool raised(int event_fd, int timeout_ms = 0) {
  pollfd entry{event_fd, POLLIN, 0};
  return poll(&entry, 1, timeout_ms) == 1;
}

class LaneTest : public testing::Test {
 protected:
  void open(LaneSizes sizes = {4096, 4096}, std::uint32_t spin_us = 0) {
    Result<std::unique_ptr<ServerLane>> made = ServerLane::create(sizes);
    ASSERT_TRUE(made.ok()) << made.status().message();
    server_ = std::move(made).value();
    Result<std::unique_ptr<WorkerLane>> attached = attach(spin_us);
    ASSERT_TRUE(attached.ok()) << attached.status().message();
    worker_ = std::move(attached).value();
  }
  [[nodiscard]] Result<std::unique_ptr<WorkerLane>> attach(std::uint32_t spin_us) const {
    return WorkerLane::attach(UniqueFd(dup(server_->memory_fd())), UniqueFd(dup(server_->event_fd())), spin_us);
  }
  std::string received() {  // by the server
    auto record = server_->peek();
    if (!record.ok()) return std::string(record.status().message());
    if (!record->has_value()) return "<none>";
    std::string text = text_of(**record);
    server_->release();
    return text;
  }
  std::string task(int timeout_ms) {  // by the worker
    auto record = worker_->wait(timeout_ms);
    if (!record.ok()) return std::string(record.status().message());
    if (!record->has_value()) return "<none>";
    std::string text = text_of(**record);
    worker_->release();
    return text;
  }

  std::unique_ptr<ServerLane> server_;
  std::unique_ptr<WorkerLane> worker_;
};

TEST_F(LaneTest, TasksThereResultsBack) {
  open();
  EXPECT_TRUE(server_->post(bytes_of("task 1")));
  EXPECT_TRUE(server_->post(bytes_of("task 2")));
  EXPECT_EQ(task(-1), "task 1");
  EXPECT_EQ(task(-1), "task 2");
  EXPECT_EQ(task(0), "<none>");
  ASSERT_TRUE(worker_->post(bytes_of("done 1")).ok());
  EXPECT_EQ(received(), "done 1");
  EXPECT_EQ(received(), "<none>");
}

TEST_F(LaneTest, DescriptorsAreNotInheritedByAccident) {
  open();
  EXPECT_NE(fcntl(server_->memory_fd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(server_->event_fd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(ftruncate(server_->memory_fd(), 64), 0);
}

TEST_F(LaneTest, TheEventIsRaisedOnlyForAServerThatDoesNotLook) {
  open();
  ASSERT_TRUE(worker_->post(bytes_of("a")).ok());
  EXPECT_FALSE(raised(server_->event_fd()));
  EXPECT_FALSE(server_->arm());  // there is a record
  EXPECT_EQ(received(), "a");
  EXPECT_TRUE(server_->arm());
  EXPECT_FALSE(raised(server_->event_fd()));
  ASSERT_TRUE(worker_->post(bytes_of("b")).ok());
  EXPECT_TRUE(raised(server_->event_fd()));
  ASSERT_TRUE(worker_->post(bytes_of("c")).ok());
  std::uint64_t count = 0;
  EXPECT_EQ(received(), "b");
  EXPECT_EQ(received(), "c");
  EXPECT_TRUE(server_->arm());
  EXPECT_FALSE(raised(server_->event_fd()));
  EXPECT_EQ(read(server_->event_fd(), &count, sizeof(count)), -1);
}

TEST_F(LaneTest, AnEventWithoutARecordIsClearedByTheNextArm) {
  open();
  ASSERT_TRUE(server_->arm());
  const std::uint64_t one = 1;
  ASSERT_EQ(write(server_->event_fd(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  ASSERT_TRUE(raised(server_->event_fd()));
  EXPECT_EQ(received(), "<none>");
  EXPECT_TRUE(server_->arm());
  EXPECT_FALSE(raised(server_->event_fd()));
  ASSERT_TRUE(worker_->post(bytes_of("later")).ok());
  EXPECT_TRUE(raised(server_->event_fd()));
}

TEST_F(LaneTest, ATaskWakesASleepingWorker) {
  open();
  std::string got;
  std::thread worker([&] { got = task(-1); });
  ASSERT_TRUE(server_->post(bytes_of("wake up")));
  worker.join();
  EXPECT_EQ(got, "wake up");
}

TEST_F(LaneTest, WaitEndsAtItsTime) {
  for (const std::uint32_t spin_us : {0U, 200U}) {
    open({4096, 4096}, spin_us);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(task(20), "<none>");
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(20));
  }
}

TEST_F(LaneTest, StopEndsAWaitAndAllLaterOnes) {
  for (const std::uint32_t spin_us : {0U, 50U}) {
    for (int round = 0; round < 200; ++round) {
      open({4096, 4096}, spin_us);
      std::string got;
      std::thread waiting([&] { got = task(-1); });
      worker_->stop();
      waiting.join();
      EXPECT_EQ(got, "<none>");
      ASSERT_TRUE(server_->post(bytes_of("too late")));
      EXPECT_EQ(task(-1), "<none>");
    }
  }
}

TEST_F(LaneTest, AFullTaskRingRefusesAndTakesAgain) {
  open();
  const std::vector<std::byte> record(1000);
  int posted = 0;
  while (server_->post(record)) ++posted;
  EXPECT_EQ(posted, 4);
  EXPECT_EQ(task(-1).size(), 1000U);
  EXPECT_TRUE(server_->post(record));
  EXPECT_FALSE(server_->post(record));
}

TEST_F(LaneTest, RecordsThatNeverFit) {
  open();
  EXPECT_EQ(server_->max_record(), 2040U);
  EXPECT_TRUE(server_->post(std::vector<std::byte>(2040)));
  EXPECT_FALSE(server_->post(std::vector<std::byte>(2041)));
  const Status status = worker_->post(std::vector<std::byte>(2041));
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), "a record of 2041 bytes does not fit into the done ring; at most 2040 do");
}

TEST_F(LaneTest, PostWaitsForRoom) {
  open();
  constexpr int kRecords = 100;
  std::thread worker([&] {
    for (int i = 0; i < kRecords; ++i) {
      ASSERT_TRUE(worker_->post(std::vector<std::byte>(900, static_cast<std::byte>(i))).ok());
    }
  });
  for (int i = 0; i < kRecords;) {
    const std::string text = received();
    if (text == "<none>") {
      if (server_->arm()) raised(server_->event_fd(), -1);
      continue;
    }
    ASSERT_EQ(text, std::string(900, static_cast<char>(i)));
    ++i;
  }
  worker.join();
}

TEST_F(LaneTest, StopEndsAPostThatWaitsForRoom) {
  open();
  Status status;
  std::thread posting([&] {
    do {
      status = worker_->post(std::vector<std::byte>(2040));
    } while (status.ok());
  });
  worker_->stop();
  posting.join();
  EXPECT_EQ(status.code(), Code::kCancelled);
}

TEST_F(LaneTest, ABrokenDoneRingIsAnError) {
  open();
  ASSERT_TRUE(worker_->post(bytes_of("x")).ok());
  void* memory = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, server_->memory_fd(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  // lane header (64), task ring (192 + 4096), header of the done ring (192), then the length of the first record.
  const std::uint32_t length = 0x10000;
  std::memcpy(static_cast<std::byte*>(memory) + 64 + 192 + 4096 + 192, &length, sizeof(length));
  munmap(memory, 8192);
  EXPECT_EQ(server_->peek().status().code(), Code::kInternal);
}

TEST(Lane, SizesThatCannotBe) {
  for (const std::uint32_t capacity : {0U, 1U, 2048U, 5000U, 1U << 31U}) {
    EXPECT_EQ(ServerLane::create({capacity, 4096}).status().code(), Code::kInvalidArgument) << capacity;
    EXPECT_EQ(ServerLane::create({4096, capacity}).status().code(), Code::kInvalidArgument) << capacity;
  }
}

TEST(Lane, MemoryThatIsNoLane) {
  auto attach = [](std::uint64_t bytes) {
    UniqueFd memory(memfd_create("no-lane", MFD_CLOEXEC));
    EXPECT_EQ(ftruncate(memory.get(), static_cast<off_t>(bytes)), 0);
    return WorkerLane::attach(std::move(memory), UniqueFd(eventfd(0, EFD_CLOEXEC))).status().code();
  };
  EXPECT_EQ(attach(0), Code::kFailedPrecondition);
  EXPECT_EQ(attach(63), Code::kFailedPrecondition);
  EXPECT_EQ(attach(65536), Code::kFailedPrecondition);
  EXPECT_FALSE(WorkerLane::attach(UniqueFd(), UniqueFd()).ok());
}

TEST_F(LaneTest, AnInterruptEndsOneWaitThatIsInterruptible) {
  open();
  const auto interruptible = [this] { return worker_->wait(-1, true).value().has_value(); };
  worker_->interrupt();  // before the wait
  EXPECT_FALSE(interruptible());
  std::thread during([this] { worker_->interrupt(); });
  EXPECT_FALSE(interruptible());
  during.join();
  worker_->interrupt();
  EXPECT_TRUE(server_->post(bytes_of("task")));
  EXPECT_EQ(task(-1), "task") << "a record comes first";
  EXPECT_EQ(task(1), "<none>");
  EXPECT_FALSE(interruptible()) << "the other wait has left it";
}

TEST_F(LaneTest, TheServerMayCloseTheMemorysDescriptor) {
  open();
  server_->close_memory_fd();
  EXPECT_EQ(server_->memory_fd(), -1);
  EXPECT_TRUE(server_->post(bytes_of("task")));
  EXPECT_EQ(task(-1), "task");
}

// An echo in another process; the server sleeps on the eventfd, the worker on the futex.
TEST(Lane, EchoThroughAnotherProcess) {
  constexpr std::uint64_t kRounds = 5'000;
  Result<std::unique_ptr<ServerLane>> made = ServerLane::create();
  ASSERT_TRUE(made.ok());
  ServerLane& server = **made;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto worker = WorkerLane::attach(UniqueFd(dup(server.memory_fd())), UniqueFd(dup(server.event_fd())));
    while (worker.ok()) {
      const auto record = (*worker)->wait(-1);
      if (!record.ok()) _exit(2);
      const std::vector<std::byte> copy((*record)->begin(), (*record)->end());
      (*worker)->release();
      if (copy.size() == 1) _exit(0);
      if (!(*worker)->post(copy).ok()) _exit(3);
    }
    _exit(1);
  }
  std::uint64_t sent = 0;
  for (std::uint64_t got = 0; got < kRounds;) {
    // Up to three on their way, so that rings are empty at times and not at others.
    while (sent < kRounds && sent - got < 1 + got % 3) {
      const std::uint64_t record[2] = {sent, ~sent};
      ASSERT_TRUE(server.post(std::as_bytes(std::span(record))));
      ++sent;
    }
    const auto record = server.peek();
    ASSERT_TRUE(record.ok());
    if (!record->has_value()) {
      if (server.arm()) {
        ASSERT_TRUE(raised(server.event_fd(), 20'000)) << "a wake-up was lost at " << got;
      }
      continue;
    }
    std::uint64_t numbers[2] = {};
    ASSERT_EQ((*record)->size(), sizeof(numbers));
    std::memcpy(numbers, (*record)->data(), sizeof(numbers));
    EXPECT_EQ(numbers[0], got);
    EXPECT_EQ(numbers[1], ~got);
    server.release();
    ++got;
  }
  ASSERT_TRUE(server.post(std::vector<std::byte>(1)));
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace servoir
