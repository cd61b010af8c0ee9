// The scheduler's steps for what comes back from lanes: results, requests for room, and calls of models.
#include <algorithm>

#include "base/text.h"
#include "channel/rows.h"
#include "schedule/version_scheduler.h"

namespace servoir {
namespace {

// An error text of a worker is cut to this in answers; the worker's log has all of it.
constexpr std::size_t kMaxErrorText = 8192;
// Instances in one call of a model: rows of no bytes would otherwise let a short record ask for any number of them.
constexpr std::uint32_t kMaxCallRows = 1U << 20U;

std::string_view cut(std::string_view text) { return cut_utf8(text, kMaxErrorText); }

}  // namespace

Status VersionScheduler::on_done(LaneState* lane, std::span<const std::byte> record, Deferred* later) {
  RowsResult& result = rows_result_;
  SERVOIR_RETURN_IF_ERROR(read_rows_result(record, &result));
  RunningTask* task = lane->find(result.id);
  if (task == nullptr || task->rows != result.rows) {
    return Status::Internal("a result for task " + std::to_string(result.id) + " of " + std::to_string(result.rows) +
                            " instances, which the worker does not hold");
  }
  CalleeState& callee = *callees_[task->callee];
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
  saw_output(&callee, bytes, result.rows);
  const std::uint64_t ns_per_row = std::max<std::uint64_t>(result.run_ns / result.rows, 1);
  callee.ns_per_row = callee.ns_per_row == 0 ? ns_per_row : (3 * callee.ns_per_row + ns_per_row) / 4;
  callee.time.saw(result.rows, later->now - lane->busy_since());
  lane->free_since = later->now;
  callee.batches.add();
  callee.instances.add(result.rows);
  callee.failed.add(result.failures.size());
  callee.run_time.add(result.run_ns);

  store_results(*task, result, blocks);
  const RunningTask finished = std::move(*task);
  std::erase_if(lane->tasks, [id = finished.id](const RunningTask& t) { return t.id == id; });
  watch(*lane, later);
  for (const std::shared_ptr<Request>& call : finished.calls) {
    fail(call, Status::Cancelled("the stage that called has ended"), later);
  }
  finish_task(finished, result, later);
  return Status::Ok();
}

void VersionScheduler::store_results(const RunningTask& task, const RowsResult& result,
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

void VersionScheduler::finish_task(const RunningTask& task, const RowsResult& result, Deferred* later) {
  std::vector<const RowsResult::Failure*> failures;
  failures.reserve(result.failures.size());
  for (const RowsResult::Failure& failure : result.failures) failures.push_back(&failure);
  std::sort(failures.begin(), failures.end(), [](const auto* a, const auto* b) { return a->row < b->row; });
  later->answered.reserve(later->answered.size() + task.spans.size());
  auto failure = failures.begin();
  std::uint32_t row = 0;  // of the span's first instance
  for (const Span& span : task.spans) {
    Request& request = *span.request;
    stopped_running(span.request, later);
    const std::uint32_t end = row + span.count;
    for (; failure != failures.end() && (*failure)->row < end; ++failure) {
      if (request.progress.answered) continue;
      const std::uint32_t instance = span.first + ((*failure)->row - row);
      const Code code = (*failure)->code == Code::kOk ? Code::kInternal : (*failure)->code;
      flow_fail(&request, instance, stage_failure(request, span.stage, code, cut((*failure)->text)));
    }
    row = end;
    if (request.progress.answered) continue;
    ready_runs_.clear();
    flow_stage_done(&request, span.stage, span.first, span.count, &ready_runs_);
    alike_runs_.clear();
    sort_out(&request, ready_runs_, &alike_runs_);
    enqueue(span.request, alike_runs_, later);
  }
}

Status VersionScheduler::on_call(LaneState* lane, std::span<const std::byte> record, Deferred* later) {
  CallRequest call;
  SERVOIR_RETURN_IF_ERROR(read_call(record, &call));
  RunningTask* task = lane->find(call.task);
  if (task == nullptr) return Status::Internal("a call from a task that the worker does not hold");
  std::erase_if(task->kept, [&](const RunningTask::Kept& kept) {
    return std::find(call.released.begin(), call.released.end(), kept.call) != call.released.end();
  });
  if (call.callee >= callees_.size() || callees_[call.callee]->call_method == nullptr) {
    return Status::Internal("a call of callee " + std::to_string(call.callee) + ", which is no model");
  }
  const CalleeState& callee = *callees_[call.callee];
  const std::uint32_t inputs = callee.queue.spec().inputs;
  if (call.inputs.size() != inputs || call.rows == 0) {
    return Status::Internal("a call with " + std::to_string(call.inputs.size()) + " inputs and " +
                            std::to_string(call.rows) + " instances; the model has " + std::to_string(inputs) +
                            " inputs");
  }
  if (call.rows > kMaxCallRows) {
    refuse_call(*lane, call.call, call.rows,
                "has too many: at most " + std::to_string(kMaxCallRows) + " are accepted; call with fewer at a time",
                later);
    return Status::Ok();
  }
  MemoryShare heap(around_->slabs->heap(), Request::kFreeBytes);
  if (!heap.add(Request::heap_bytes(*callee.call_method->spec, call.rows))) {
    const MemoryBudget& budget = *around_->slabs->heap();
    refuse_call(*lane, call.call, call.rows,
                "finds no memory besides its tensors, for which all requests have " + std::to_string(budget.limit()) +
                    " bytes, a quarter of the arena's limit (SERVOIR_ARENA_LIMIT_MB); " +
                    std::to_string(budget.used()) + " are in use; call with fewer at a time",
                later);
    return Status::Ok();
  }
  auto request = make_request(callee.call_method, call.rows);
  request->heap = std::move(heap);
  // The calling lane waits for it, so it is as urgent as the requests that the lane runs, and no more.
  const Request& caller = *task->spans.front().request;
  request->info.sender = caller.info.sender;
  request->info.priority = caller.info.priority;
  request->progress.arrival = caller.progress.arrival;
  for (const Span& span : task->spans) {
    request->info.priority = std::min(request->info.priority, span.request->info.priority);
    request->progress.arrival = std::min(request->progress.arrival, span.request->progress.arrival);
  }
  for (std::uint32_t k = 0; k < inputs; ++k) {
    std::uint32_t instance = 0;
    for (const OutputPiece& piece : call.inputs[k]) {
      BlockRef block;
      SERVOIR_RETURN_IF_ERROR(locate(*task, piece, &block));
      for (std::uint32_t row = 0; row < piece.rows; ++row) request->at(k, instance++) = row_of(piece, block, row);
    }
  }
  request->answer = [this, lane_id = lane->id, task_id = call.task, call_id = call.call](
                        const std::shared_ptr<Request>& answered, bool /*last*/) {
    Deferred after = begin();
    {
      const MutexLock lock(&mutex_);
      finish_call(lane_id, task_id, call_id, *answered, &after);
    }
    carry_out(&after);
  };
  task->calls.push_back(request);
  ready_runs_.clear();
  flow_start(request.get(), &ready_runs_);
  alike_runs_.clear();
  sort_out(request.get(), ready_runs_, &alike_runs_);
  enqueue(request, alike_runs_, later);
  return Status::Ok();
}

void VersionScheduler::finish_call(std::uint32_t lane_id, std::uint64_t task_id, std::uint64_t call_id,
                                   const Request& request, Deferred* later) {
  const auto found = lanes_.find(lane_id);
  if (found == lanes_.end()) return;
  LaneState& lane = *found->second;
  RunningTask* task = lane.find(task_id);
  if (task == nullptr) return;
  std::erase_if(task->calls, [&](const std::shared_ptr<Request>& call) { return call.get() == &request; });
  lane.moved = later->now;
  watch(lane, later);

  RowsResult result;
  result.id = call_id;
  result.rows = request.instances;
  // The worker raises the first error only, so the others need no text.
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
          const bool kept =
              !task->kept.empty() && task->kept.back().call == call_id && task->kept.back().block == tensor.block;
          if (!kept) task->kept.push_back({call_id, tensor.block});
        }
        append_piece(piece, &pieces);
      }
    }
  }
  writer_.clear();
  write_called(result, &writer_);
  if (writer_.bytes().size() <= lane.outbox->max_record()) {
    send(lane, later);
  } else {
    refuse_call(lane, call_id, result.rows, "gives more results than the channel takes; call with fewer at a time",
                later);
  }
}

void VersionScheduler::refuse_call(const LaneState& lane, std::uint64_t call_id, std::uint32_t rows,
                                   std::string_view why, Deferred* later) {
  RowsResult refusal;
  refusal.id = call_id;
  refusal.rows = rows;
  std::string text = "Model.call with " + std::to_string(rows) + " instances ";
  text += why;
  refusal.failures.push_back({0, Code::kResourceExhausted, std::move(text)});
  writer_.clear();
  write_called(refusal, &writer_);
  send(lane, later);
}

}  // namespace servoir
