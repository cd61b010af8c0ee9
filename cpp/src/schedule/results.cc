// What comes back from lanes: results, wishes for room, calls of models.
#include <algorithm>

#include "schedule/scheduler_impl.h"

namespace servoir {
namespace {

// An error text of a worker is cut to this in answers; the worker's log has all of it.
constexpr std::size_t kMaxErrorText = 8192;
// The estimate of a callee's output grows at once and shrinks by a sixteenth of the difference a batch.
constexpr std::uint64_t kRoomDecay = 16;

std::string_view cut(std::string_view text) { return text.substr(0, kMaxErrorText); }

}  // namespace

Status Scheduler::Impl::on_record(LaneId id, std::span<const std::byte> record, Deferred* later) {
  const auto found = lanes.find(id);
  if (found == lanes.end()) return Status::Ok();  // it was detached meanwhile
  const Result<Kind> kind = MessageReader(record).kind();
  if (!kind.ok()) return kind.status();
  switch (*kind) {
    case Kind::kDone:
      return on_done(found->second.get(), record, later);
    case Kind::kNeedRoom:
      return on_need_room(found->second.get(), record);
    case Kind::kCall:
      return on_call(found->second.get(), record, later);
    default:
      return Status::Internal("a worker sent a record of kind " + std::to_string(static_cast<std::uint32_t>(*kind)));
  }
}

Status Scheduler::Impl::on_done(LaneState* lane, std::span<const std::byte> record, Deferred* later) {
  RowsResult& result = rows_result;
  SERVOIR_RETURN_IF_ERROR(read_rows_result(record, &result));
  RunningTask* task = lane->find(result.id);
  if (task == nullptr || task->rows != result.rows) {
    return Status::Internal("a result for task " + std::to_string(result.id) + " of " + std::to_string(result.rows) +
                            " instances, which the worker does not hold");
  }
  CalleeState& callee = *servables.at(lane->servable)->callees[task->callee];
  const CalleeSpec& spec = callee.queue.spec();
  if (result.outputs.size() != spec.outputs && !(result.outputs.empty() && result.failures.size() == result.rows)) {
    return Status::Internal("a result with " + std::to_string(result.outputs.size()) + " outputs, expected " +
                            std::to_string(spec.outputs));
  }
  std::vector<bool> failed(result.rows);
  for (const RowsResult::Failure& failure : result.failures) failed[failure.row] = true;
  std::vector<std::vector<BlockRef>> blocks(result.outputs.size());
  std::uint64_t bytes = 0;
  for (std::size_t o = 0; o < result.outputs.size(); ++o) {
    std::uint32_t row = 0;
    for (const OutputPiece& piece : result.outputs[o]) {
      BlockRef block;
      if (piece.dtype == DataType::kUnknown) {
        for (std::uint32_t r = row; r < row + piece.rows; ++r) {
          if (!failed[r])
            return Status::Internal("a result has neither value nor error for instance " + std::to_string(r));
        }
      } else {
        SERVOIR_RETURN_IF_ERROR(locate(*task, piece, &block));
        bytes += piece.row_bytes * piece.rows;
      }
      blocks[o].push_back(std::move(block));
      row += piece.rows;
    }
  }
  // Aligned per output, so a little more than the bytes themselves.
  const std::uint64_t per_row = bytes / result.rows + 1;
  callee.room_per_row =
      per_row >= callee.room_per_row ? per_row : callee.room_per_row - (callee.room_per_row - per_row) / kRoomDecay;
  const std::uint64_t ns_per_row = std::max<std::uint64_t>(result.run_ns / result.rows, 1);
  callee.ns_per_row = callee.ns_per_row == 0 ? ns_per_row : (3 * callee.ns_per_row + ns_per_row) / 4;
  callee.stats.batches += 1;
  callee.stats.instances += result.rows;
  callee.stats.failed += result.failures.size();
  callee.stats.run_ns += result.run_ns;

  store_results(*task, result, blocks);
  const RunningTask finished = std::move(*task);
  std::erase_if(lane->tasks, [&](const RunningTask& t) { return t.id == result.id; });
  for (const std::shared_ptr<Request>& call : finished.calls) {
    fail(call, Status::Cancelled("the stage that called has ended"), later);
  }
  finish_task(finished, result, later);
  return Status::Ok();
}

void Scheduler::Impl::store_results(const RunningTask& task, const RowsResult& result,
                                    const std::vector<std::vector<BlockRef>>& blocks) {
  for (std::size_t o = 0; o < result.outputs.size(); ++o) {
    std::size_t piece = 0;
    std::uint32_t row = 0;  // in the piece
    for (const Span& span : task.spans) {
      Request& request = *span.request;
      const bool wanted = !request.progress.answered;
      const auto value = static_cast<std::uint32_t>(request.method->spec->stages[span.stage].first_output + o);
      for (std::uint32_t i = span.first; i < span.first + span.count; ++i) {
        while (row == result.outputs[o][piece].rows) {
          ++piece;
          row = 0;
        }
        const OutputPiece& from = result.outputs[o][piece];
        if (wanted && from.dtype != DataType::kUnknown) request.at(value, i) = row_of(from, blocks[o][piece], row);
        ++row;
      }
    }
  }
}

void Scheduler::Impl::finish_task(const RunningTask& task, const RowsResult& result, Deferred* later) {
  std::vector<ReadyRun> runs;
  std::vector<const RowsResult::Failure*> failures;
  failures.reserve(result.failures.size());
  for (const RowsResult::Failure& failure : result.failures) failures.push_back(&failure);
  std::sort(failures.begin(), failures.end(), [](const auto* a, const auto* b) { return a->row < b->row; });
  auto failure = failures.begin();
  std::uint32_t row = 0;  // of the span's first instance
  for (const Span& span : task.spans) {
    Request& request = *span.request;
    stopped_running(span.request);
    const std::uint32_t end = row + span.count;
    for (; failure != failures.end() && (*failure)->row < end; ++failure) {
      if (request.progress.answered) continue;
      const std::uint32_t instance = span.first + ((*failure)->row - row);
      const Code code = (*failure)->code == Code::kOk ? Code::kInternal : (*failure)->code;
      flow_fail(&request, instance, stage_failure(request, span.stage, code, cut((*failure)->text)));
    }
    row = end;
    if (request.progress.answered) continue;
    runs.clear();
    flow_stage_done(&request, span.stage, span.first, span.count, &runs);
    enqueue(span.request, runs, later);
  }
}

Status Scheduler::Impl::on_need_room(LaneState* lane, std::span<const std::byte> record) {
  const auto* head = MessageReader(record).get<NeedRoomHead>();
  if (head == nullptr) return Status::Internal("a wish for room is cut short");
  RunningTask* task = lane->find(head->task);
  if (task == nullptr) return Status::Internal("a wish for room for a task that the worker does not hold");
  RoomHead answer;
  answer.task = head->task;
  Result<BlockRef> room = arena->allocate(head->bytes);
  if (room.ok()) {
    answer.offset = (*room)->offset();
    answer.bytes = (*room)->size();
    task->rooms.push_back(std::move(*room));
  } else {
    answer.failed = 1;
  }
  writer.clear();
  writer.put(answer);
  if (!lane->port->post(writer.bytes())) return Status::Internal("a worker does not empty its task ring");
  return Status::Ok();
}

Status Scheduler::Impl::on_call(LaneState* lane, std::span<const std::byte> record, Deferred* later) {
  CallRequest call;
  SERVOIR_RETURN_IF_ERROR(read_call(record, &call));
  RunningTask* task = lane->find(call.task);
  if (task == nullptr) return Status::Internal("a call from a task that the worker does not hold");
  Servable& servable = *servables.at(lane->servable);
  if (call.callee >= servable.callees.size() || servable.callees[call.callee]->call_method == nullptr) {
    return Status::Internal("a call of callee " + std::to_string(call.callee) + ", which is no model");
  }
  const CalleeState& callee = *servable.callees[call.callee];
  const std::uint32_t inputs = callee.queue.spec().inputs;
  if (call.inputs.size() != inputs || call.rows == 0) {
    return Status::Internal("a call with " + std::to_string(call.inputs.size()) + " inputs and " +
                            std::to_string(call.rows) + " instances; the model has " + std::to_string(inputs) +
                            " inputs");
  }
  auto request = std::make_shared<Request>(callee.call_method, call.rows);
  request->progress.internal = true;
  for (std::uint32_t k = 0; k < inputs; ++k) {
    std::uint32_t instance = 0;
    for (const OutputPiece& piece : call.inputs[k]) {
      BlockRef block;
      SERVOIR_RETURN_IF_ERROR(locate(*task, piece, &block));
      for (std::uint32_t row = 0; row < piece.rows; ++row) request->at(k, instance++) = row_of(piece, block, row);
    }
  }
  request->answer = [scheduler = self, lane_id = lane->id, task_id = call.task,
                     call_id = call.call](const std::shared_ptr<Request>& answered) {
    const std::lock_guard lock(scheduler->impl_->mutex);
    scheduler->impl_->finish_call(lane_id, task_id, call_id, *answered);
  };
  task->calls.push_back(request);
  submit(request, later);
  return Status::Ok();
}

void Scheduler::Impl::finish_call(LaneId lane_id, std::uint64_t task_id, std::uint64_t call_id,
                                  const Request& request) {
  const auto found = lanes.find(lane_id);
  if (found == lanes.end()) return;
  LaneState& lane = *found->second;
  RunningTask* task = lane.find(task_id);
  if (task == nullptr) return;
  std::erase_if(task->calls, [&](const std::shared_ptr<Request>& call) { return call.get() == &request; });

  RowsResult result;
  result.id = call_id;
  result.rows = request.instances;
  // The worker raises the first error; the others need no text.
  for (std::uint32_t i = 0; i < request.instances; ++i) {
    const Status& error = request.failure.ok() ? request.errors[i] : request.failure;
    if (error.ok()) continue;
    result.failures.push_back({i, error.code(), result.failures.empty() ? std::string(cut(error.message())) : ""});
  }
  if (result.failures.size() < request.instances) {
    const StageSpec& stage = request.method->spec->stages[0];
    result.outputs.resize(stage.outputs);
    for (std::uint32_t o = 0; o < stage.outputs; ++o) {
      std::vector<OutputPiece>& pieces = result.outputs[o];
      for (std::uint32_t i = 0; i < request.instances; ++i) {
        const TensorRef& tensor = request.at(stage.first_output + o, i);
        OutputPiece piece;
        piece.rows = 1;
        if (request.errors[i].ok()) {
          piece.offset = tensor.offset;
          piece.row_bytes = tensor.bytes;
          piece.dtype = tensor.dtype;
          piece.row_shape = tensor.shape;
          if (task->kept.empty() || task->kept.back() != tensor.block) task->kept.push_back(tensor.block);
        }
        if (!pieces.empty()) {
          OutputPiece& last = pieces.back();
          if (last.dtype == piece.dtype && last.row_bytes == piece.row_bytes && last.row_shape == piece.row_shape &&
              last.offset + last.row_bytes * last.rows == piece.offset) {
            ++last.rows;
            continue;
          }
        }
        pieces.push_back(piece);
      }
    }
  }
  writer.clear();
  write_called(result, &writer);
  if (lane.port->post(writer.bytes())) return;
  // More pieces than the ring takes: an error instead, which always fits.
  RowsResult refusal;
  refusal.id = call_id;
  refusal.rows = result.rows;
  refusal.failures.push_back({0, Code::kResourceExhausted,
                              "Model.call with " + std::to_string(result.rows) +
                                  " instances gives more results than the channel takes; call with fewer at a time"});
  writer.clear();
  write_called(refusal, &writer);
  static_cast<void>(lane.port->post(writer.bytes()));
}

}  // namespace servoir
