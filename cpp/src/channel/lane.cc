#include "channel/lane.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <string>
#include <thread>

#include "base/checked.h"

namespace servoir {
namespace {

// The lane's memory has the LaneHeader and what the worker counts, padded to kRingsOffset, then the task ring, then the
// done ring.
struct LaneHeader {
  std::uint64_t magic;
  std::uint32_t task_capacity;
  std::uint32_t done_capacity;
};
// Written by the worker alone, which may write anything there.
using Count = std::atomic<std::uint64_t>;
static_assert(Count::is_always_lock_free && sizeof(Count) == sizeof(std::uint64_t));
constexpr std::uint64_t kCountOffset = sizeof(LaneHeader);
constexpr std::uint64_t kMagic = 0x31656e616c767273;  // "srvlane1"
constexpr std::uint64_t kRingsOffset = 64;
static_assert(kCountOffset + sizeof(Count) <= kRingsOffset);
constexpr std::uint32_t kMinCapacity = 1U << 12U;
constexpr std::uint32_t kMaxCapacity = 1U << 30U;

std::uint64_t done_offset(std::uint32_t task_capacity) {
  return kRingsOffset + round_up(ring_bytes(task_capacity), 64);
}
std::uint64_t lane_bytes(std::uint32_t task_capacity, std::uint32_t done_capacity) {
  return done_offset(task_capacity) + ring_bytes(done_capacity);
}
bool is_capacity(std::uint32_t capacity) {
  return std::has_single_bit(capacity) && capacity >= kMinCapacity && capacity <= kMaxCapacity;
}

class Mapping {
 public:
  static Result<Mapping> map(int fd, std::uint64_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED) {
      return Status::FromErrno("mapping " + std::to_string(bytes) + " bytes of a lane's memory", errno);
    }
    return Mapping(static_cast<std::byte*>(memory), bytes);
  }
  Mapping(Mapping&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (memory_ != nullptr) munmap(memory_, bytes_);
  }
  [[nodiscard]] std::byte* data() const { return memory_; }

 private:
  Mapping(std::byte* memory, std::uint64_t bytes) : memory_(memory), bytes_(bytes) {}
  std::byte* memory_;
  std::uint64_t bytes_;
};

void copy_into(std::span<std::byte> place, std::span<const std::byte> record) {
  if (!record.empty()) std::memcpy(place.data(), record.data(), record.size());
}

// A step of a busy wait: tells the core that nothing useful is being done.
void pause_core() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ServerLane::Impl {
  Impl(UniqueFd memory, UniqueFd event_descriptor, Mapping map, LaneSizes sizes)
      : memory_fd(std::move(memory)),
        event(std::move(event_descriptor)),
        event_number(event.get()),
        mapping(std::move(map)),
        task_ring(mapping.data() + kRingsOffset),
        tasks(task_ring, sizes.task_capacity),
        done(mapping.data() + done_offset(sizes.task_capacity), sizes.done_capacity) {}

  UniqueFd memory_fd;
  UniqueFd event;    // invalid once it was taken
  int event_number;  // its number, also once it was taken
  Mapping mapping;
  std::byte* task_ring;
  RingProducer tasks;
  // Another thread uses this end, so it has a cache line of its own.
  alignas(64) RingConsumer done;
  bool armed = false;
  bool released = false;  // a record was released since the last arm()
};

ServerLane::ServerLane(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ServerLane::~ServerLane() = default;

Result<std::unique_ptr<ServerLane>> ServerLane::create(LaneSizes sizes) {
  for (const std::uint32_t capacity : {sizes.task_capacity, sizes.done_capacity}) {
    if (!is_capacity(capacity)) {
      return Status::InvalidArgument("a ring of a lane cannot have " + std::to_string(capacity) +
                                     " bytes; it must be a power of two between " + std::to_string(kMinCapacity) +
                                     " and " + std::to_string(kMaxCapacity));
    }
  }
  UniqueFd memory(memfd_create("servoir-lane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.valid()) return Status::FromErrno("creating the memory of a lane", errno);
  const std::uint64_t bytes = lane_bytes(sizes.task_capacity, sizes.done_capacity);
  if (ftruncate(memory.get(), static_cast<off_t>(bytes)) != 0) {
    return Status::FromErrno("setting the size of a lane's memory to " + std::to_string(bytes) + " bytes", errno);
  }
  // If a worker could shrink the file, the server would die of SIGBUS.
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Status::FromErrno("sealing the size of a lane's memory", errno);
  }
  UniqueFd event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!event.valid()) return Status::FromErrno("creating the eventfd of a lane", errno);
  SERVOIR_ASSIGN_OR_RETURN(Mapping mapping, Mapping::map(memory.get(), bytes));
  const LaneHeader header{kMagic, sizes.task_capacity, sizes.done_capacity};
  std::memcpy(mapping.data(), &header, sizeof(header));
  new (mapping.data() + kCountOffset) Count(0);
  ring_format(mapping.data() + kRingsOffset, sizes.task_capacity);
  ring_format(mapping.data() + done_offset(sizes.task_capacity), sizes.done_capacity);
  return std::unique_ptr<ServerLane>(
      new ServerLane(std::make_unique<Impl>(std::move(memory), std::move(event), std::move(mapping), sizes)));
}

bool ServerLane::post(std::span<const std::byte> record) {
  if (record.size() > max_record()) return false;
  const auto bytes = static_cast<std::uint32_t>(record.size());
  const std::span<std::byte> place = impl_->tasks.prepare(bytes);
  if (place.data() == nullptr) return false;
  copy_into(place, record);
  if (impl_->tasks.commit(bytes)) ring_wake(impl_->task_ring);
  return true;
}

std::uint32_t ServerLane::max_record() const { return impl_->tasks.max_record(); }

Result<std::optional<std::span<const std::byte>>> ServerLane::peek() { return impl_->done.peek(); }

void ServerLane::release() {
  impl_->released = true;
  impl_->done.release();
}

bool ServerLane::arm() {
  // The eventfd has to be read when the worker has raised it, which the worker does after it has taken the sleeping
  // mark back. If that write was still under way at the last read, the server is woken up with nothing in the ring; the
  // eventfd has to be read then as well.
  const bool raised = impl_->armed && !impl_->done.sleep_pending();
  if (raised || !impl_->released) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(impl_->event_number, &count, sizeof(count));
  }
  impl_->released = false;
  impl_->armed = impl_->done.prepare_sleep();
  return impl_->armed;
}

std::uint64_t ServerLane::left_out_records() const {
  return reinterpret_cast<const Count*>(impl_->mapping.data() + kCountOffset)->load(std::memory_order_relaxed);
}

int ServerLane::event_fd() const { return impl_->event_number; }
UniqueFd ServerLane::take_event() { return std::move(impl_->event); }
int ServerLane::memory_fd() const { return impl_->memory_fd.get(); }
void ServerLane::close_memory_fd() { impl_->memory_fd = UniqueFd(); }

struct WorkerLane::Impl {
  Impl(UniqueFd event_descriptor, Mapping map, const LaneHeader& header, std::uint32_t spin)
      : event(std::move(event_descriptor)),
        mapping(std::move(map)),
        task_ring(mapping.data() + kRingsOffset),
        tasks(task_ring, header.task_capacity),
        done(mapping.data() + done_offset(header.task_capacity), header.done_capacity),
        spin_us(spin) {}

  UniqueFd event;
  Mapping mapping;
  std::byte* task_ring;
  RingConsumer tasks;
  RingProducer done;
  std::uint32_t spin_us;
  std::atomic<bool> stopped{false};
  std::atomic<bool> interrupted{false};
};

WorkerLane::WorkerLane(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WorkerLane::~WorkerLane() = default;

Result<std::unique_ptr<WorkerLane>> WorkerLane::attach(UniqueFd memory, UniqueFd event, std::uint32_t spin_us) {
  struct stat info {};
  if (fstat(memory.get(), &info) != 0) return Status::FromErrno("looking at the memory of a lane", errno);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes < kRingsOffset) {
    return Status::FailedPrecondition("the descriptor given as a lane's memory holds " + std::to_string(bytes) +
                                      " bytes; it is not one that this version's server made");
  }
  SERVOIR_ASSIGN_OR_RETURN(Mapping mapping, Mapping::map(memory.get(), bytes));
  LaneHeader header{};
  std::memcpy(&header, mapping.data(), sizeof(header));
  if (header.magic != kMagic || !is_capacity(header.task_capacity) || !is_capacity(header.done_capacity) ||
      lane_bytes(header.task_capacity, header.done_capacity) != bytes) {
    return Status::FailedPrecondition(
        "the descriptor given as a lane's memory is not one that this version's server made");
  }
  return std::unique_ptr<WorkerLane>(
      new WorkerLane(std::make_unique<Impl>(std::move(event), std::move(mapping), header, spin_us)));
}

Result<std::optional<std::span<const std::byte>>> WorkerLane::wait(int timeout_ms, bool interruptible) {
  using Clock = std::chrono::steady_clock;
  using Record = std::optional<std::span<const std::byte>>;
  constexpr int kLooksPerClock = 32;
  Impl& lane = *impl_;
  std::optional<Clock::time_point> deadline;
  std::optional<Clock::time_point> spin_until;
  while (true) {
    SERVOIR_ASSIGN_OR_RETURN(const Record record, lane.tasks.peek());
    if (lane.stopped.load(std::memory_order_relaxed)) return Record();
    if (record.has_value()) return record;
    if (interruptible && lane.interrupted.exchange(false)) return Record();
    if (lane.spin_us > 0) {
      const Clock::time_point now = Clock::now();
      if (!spin_until) spin_until = now + std::chrono::microseconds(lane.spin_us);
      if (now < *spin_until) {
        for (int i = 0; i < kLooksPerClock && !lane.tasks.ready(); ++i) pause_core();
        continue;
      }
    }
    int left_ms = -1;
    if (timeout_ms >= 0) {
      const Clock::time_point now = Clock::now();
      if (!deadline) deadline = now + std::chrono::milliseconds(timeout_ms);
      if (now >= *deadline) return Record();
      left_ms = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(*deadline - now).count());
    }
    if (!lane.tasks.prepare_sleep()) continue;
    // stop() and interrupt() set their flag before they take the sleeping mark back. So the flag cannot be missed if it
    // is looked at after the mark was set.
    if (lane.stopped.load(std::memory_order_seq_cst) || (interruptible && lane.interrupted.exchange(false))) {
      lane.tasks.cancel_sleep();
      return Record();
    }
    lane.tasks.sleep(left_ms);
  }
}

std::atomic<std::uint64_t>* WorkerLane::left_out_records() {
  return reinterpret_cast<Count*>(impl_->mapping.data() + kCountOffset);
}

void WorkerLane::release() { impl_->tasks.release(); }

Status WorkerLane::post(std::span<const std::byte> record) {
  using std::chrono::microseconds;
  Impl& lane = *impl_;
  if (record.size() > lane.done.max_record()) {
    return Status::InvalidArgument("a record of " + std::to_string(record.size()) +
                                   " bytes does not fit into the done ring; at most " +
                                   std::to_string(lane.done.max_record()) + " do");
  }
  const auto bytes = static_cast<std::uint32_t>(record.size());
  std::span<std::byte> place = lane.done.prepare(bytes);
  // A full ring means that the server is far behind. It has been woken already, so it is enough to look again now and
  // then.
  for (microseconds pause(10); place.data() == nullptr; pause = std::min(pause * 2, microseconds(1000))) {
    if (lane.stopped.load(std::memory_order_relaxed)) {
      return Status::Cancelled("the lane was stopped while its done ring was full");
    }
    std::this_thread::sleep_for(pause);
    place = lane.done.prepare(bytes);
  }
  copy_into(place, record);
  if (lane.done.commit(bytes)) {
    const std::uint64_t one = 1;
    // EAGAIN means that the counter is at its limit, and then the descriptor is readable anyway. After any other error
    // the server would never hear of this record, so the lane has to end.
    if (::write(lane.event.get(), &one, sizeof(one)) < 0 && errno != EAGAIN) {
      return Status::FromErrno("waking the server (a function may have closed descriptors that it had not opened)",
                               errno);
    }
  }
  return Status::Ok();
}

void WorkerLane::stop() {
  impl_->stopped.store(true, std::memory_order_seq_cst);
  ring_wake(impl_->task_ring);
}

void WorkerLane::interrupt() {
  impl_->interrupted.store(true, std::memory_order_seq_cst);
  ring_wake(impl_->task_ring);
}

}  // namespace servoir
