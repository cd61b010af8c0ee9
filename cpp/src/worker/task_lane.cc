#include "worker/task_lane.h"

#include <string>
#include <string_view>
#include <utility>

namespace servoir {
namespace {

constexpr std::string_view kTooLong =
    "the results of this batch are too many and too different to be sent; use smaller batches";
constexpr std::size_t kShortText = 100;

Status unexpected(RecordKind kind) {
  return Status::Internal("the server sent a record of kind " + std::to_string(static_cast<std::uint32_t>(kind)) +
                          " that nothing in this worker waits for");
}

}  // namespace

Result<bool> TaskLane::next(RunTask* task, int timeout_ms) {
  if (stopped()) return false;
  if (!waiting_runs_.empty()) {
    *task = std::move(waiting_runs_.front());
    waiting_runs_.pop_front();
    return true;
  }
  {
    const MutexLock lock(&mutex_);
    if (stopped()) return false;
    listening_ = true;
  }
  auto record = lane_->wait(timeout_ms, timeout_ms != 0);
  {
    const MutexLock lock(&mutex_);
    listening_ = false;
  }
  if (!record.ok()) return record.status();
  if (!record->has_value()) return false;
  SERVOIR_ASSIGN_OR_RETURN(const RecordKind kind, MessageReader(**record).kind());
  if (kind != RecordKind::kRun) return unexpected(kind);
  SERVOIR_RETURN_IF_ERROR(read_run(**record, task));
  lane_->release();
  return true;
}

Result<std::span<const std::byte>> TaskLane::answer() {
  while (true) {
    SERVOIR_ASSIGN_OR_RETURN(const auto record, lane_->wait(-1));
    if (!record.has_value()) return Status::Unavailable("this worker is being stopped");
    SERVOIR_ASSIGN_OR_RETURN(const RecordKind kind, MessageReader(*record).kind());
    if (kind != RecordKind::kRun) return *record;
    RunTask run;
    SERVOIR_RETURN_IF_ERROR(read_run(*record, &run));
    waiting_runs_.push_back(std::move(run));
    lane_->release();
  }
}

Result<Room> TaskLane::more_room(std::uint64_t task, std::uint64_t bytes) {
  NeedRoomHead need;
  need.task = task;
  need.bytes = bytes;
  writer_.clear();
  writer_.put(need);
  SERVOIR_RETURN_IF_ERROR(lane_->post(writer_.bytes()));
  SERVOIR_ASSIGN_OR_RETURN(const auto record, answer());
  MessageReader reader(record);
  SERVOIR_ASSIGN_OR_RETURN(const RecordKind kind, reader.kind());
  const auto* found = reader.get<RoomHead>();
  if (kind != RecordKind::kRoom || found == nullptr || found->task != task) return unexpected(kind);
  const RoomHead room = *found;
  lane_->release();
  if (room.failed != 0) {
    return Status::ResourceExhausted("the server has no memory left for " + std::to_string(bytes) +
                                     " bytes of results: " + std::to_string(room.used) + " of " +
                                     std::to_string(room.limit) +
                                     " bytes of its arena are in use; return less at a time or raise the arena's limit "
                                     "(SERVOIR_ARENA_LIMIT_MB)");
  }
  if (room.bytes < bytes) return Status::Internal("the server gave less room than was asked for");
  return Room{room.offset, room.bytes};
}

Status TaskLane::call_model(CallRequest* request, RowsResult* result) {
  request->call = ++calls_;
  writer_.clear();
  write_call(*request, &writer_);
  SERVOIR_RETURN_IF_ERROR(lane_->post(writer_.bytes()));
  SERVOIR_ASSIGN_OR_RETURN(const auto record, answer());
  SERVOIR_ASSIGN_OR_RETURN(const RecordKind kind, MessageReader(record).kind());
  if (kind != RecordKind::kCalled) return unexpected(kind);
  SERVOIR_RETURN_IF_ERROR(read_rows_result(record, result));
  lane_->release();
  if (result->id != request->call || result->rows != request->rows) {
    return Status::Internal("the server answered another model call than the one that waits");
  }
  return Status::Ok();
}

Status TaskLane::done(const RowsResult& result) {
  writer_.clear();
  write_done(result, &writer_);
  Status status = lane_->post(writer_.bytes());
  if (status.code() != Code::kInvalidArgument) return status;
  // Too long for the ring: only error texts, or results of very many different shapes, can have made it so.
  RowsResult shorter;
  shorter.id = result.id;
  shorter.rows = result.rows;
  shorter.run_ns = result.run_ns;
  const RowsResult::Failure too_long{0, Code::kResourceExhausted, std::string(kTooLong)};
  shorter.failures.assign(result.rows, too_long);
  for (std::uint32_t row = 0; row < result.rows; ++row) shorter.failures[row].row = row;
  for (const RowsResult::Failure& failure : result.failures) {
    shorter.failures[failure.row].code = failure.code;
    shorter.failures[failure.row].text = failure.text.substr(0, kShortText);
  }
  writer_.clear();
  write_done(shorter, &writer_);
  return lane_->post(writer_.bytes());
}

void TaskLane::stop() {
  const MutexLock lock(&mutex_);
  stopped_.store(true, std::memory_order_relaxed);
  if (listening_) lane_->stop();
}

}  // namespace servoir
