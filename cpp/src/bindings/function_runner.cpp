#include "function_runner.h"

#include <chrono>
#include <utility>

#include "base/checked.h"
#include "base/log.h"

namespace servoir::bindings {
namespace {

constexpr std::size_t kLongestText = 4000;  // of an error, in bytes
constexpr std::size_t kLongestTraceback = 65536;
constexpr int kTracebacksPerSecond = 10;

std::string type_name(const py::handle& object) { return Py_TYPE(object.ptr())->tp_name; }

std::string many(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// A function that fails for every request would fill the disk.
bool may_log_traceback() {
  using Clock = std::chrono::steady_clock;
  static Clock::time_point second;
  static int logged = 0;
  const Clock::time_point now = Clock::now();
  if (now - second >= std::chrono::seconds(1)) {
    second = now;
    logged = 0;
  }
  return ++logged <= kTracebacksPerSecond;
}

void log_traceback(const std::string& name, PyObject* type, PyObject* value, PyObject* trace) {
  try {
    const py::object lines =
        py::module_::import("traceback")
            .attr("format_exception")(py::handle(type), value != nullptr ? py::handle(value) : py::none(),
                                      trace != nullptr ? py::handle(trace) : py::none());
    // Texts may have lone surrogates (names of files that are not UTF-8), and any length; the end says what was raised.
    const auto text = py::str("").attr("join")(lines).attr("encode")("utf-8", "backslashreplace").cast<std::string>();
    const std::size_t from = text.size() > kLongestTraceback ? text.size() - kLongestTraceback : 0;
    SERVOIR_WARNING("function '" + name + "' failed:\n" + (from > 0 ? "…" : "") + text.substr(from));
  } catch (const std::exception&) {
    SERVOIR_WARNING("function '" + name + "' failed, and its traceback cannot be printed");
  }
}

// Not longer than the limit, and not cut inside a character.
std::string cut(std::string text) {
  if (text.size() <= kLongestText) return text;
  std::size_t end = kLongestText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  text.resize(end);
  return text + "…";
}

}  // namespace

Status FunctionRunner::add(std::uint32_t callee, Function function) {
  if (!functions_.try_emplace(callee, std::move(function)).second) {
    return Status::AlreadyExists("callee " + std::to_string(callee) + " has a function already");
  }
  return Status::Ok();
}

Status FunctionRunner::run(const RunTask& task, TaskRooms* rooms, RowsResult* result) {
  const auto found = functions_.find(task.head.callee);
  if (found == functions_.end()) {
    return Status::Internal("the server sent a batch for callee " + std::to_string(task.head.callee) +
                            ", which is no function of this worker");
  }
  Function& function = found->second;
  SERVOIR_RETURN_IF_ERROR(resolve(function, task));
  result_ = result;
  result->id = task.head.task;
  result->rows = task.head.rows;
  result->failures.clear();
  table_.begin(task.head.rows, function.outputs, rooms);

  const auto start = std::chrono::steady_clock::now();
  if (function.batched) {
    run_batch(&function, task);
  } else {
    run_each(&function, task);
  }
  result->run_ns = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count());

  table_.finish(&result->outputs);
  if (result->failures.size() == result->rows) result->outputs.clear();
  look_for_kept(&function);
  return Status::Ok();
}

Status FunctionRunner::resolve(const Function& function, const RunTask& task) {
  if (task.inputs.size() != function.inputs) {
    return Status::Internal("function '" + function.name + "' takes " + many(function.inputs, "input") +
                            ", the server sent " + std::to_string(task.inputs.size()));
  }
  inputs_.resize(task.inputs.size());
  cursor_.assign(task.inputs.size(), 0);
  cursor_row_.assign(task.inputs.size(), 0);
  for (std::size_t i = 0; i < task.inputs.size(); ++i) {
    const RunTask::Input& input = task.inputs[i];
    std::vector<Rows>& rows = inputs_[i];
    rows.clear();
    std::uint64_t needed = 0;
    if (!is_text(input.dtype)) {
      SERVOIR_ASSIGN_OR_RETURN(needed, input.row_shape.byte_size(input.dtype));
    }
    for (const Piece& piece : input.pieces) {
      std::uint64_t bytes = 0;
      if (piece.row_bytes < needed || !checked_mul(piece.row_bytes, piece.rows, &bytes)) {
        return Status::Internal("a piece of " + std::to_string(piece.row_bytes) + " bytes a row for a value of " +
                                std::to_string(needed));
      }
      SERVOIR_ASSIGN_OR_RETURN(std::byte* const data, arena_->resolve(piece.offset, bytes));
      rows.push_back({data, piece.row_bytes, piece.rows});
    }
  }
  return Status::Ok();
}

bool FunctionRunner::make_arguments(const RunTask& task, std::uint32_t row, PyObject** arguments) {
  bool good = true;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const RunTask::Input& input = task.inputs[i];
    while (cursor_row_[i] == inputs_[i][cursor_[i]].rows) {
      ++cursor_[i];
      cursor_row_[i] = 0;
    }
    const Rows& rows = inputs_[i][cursor_[i]];
    std::byte* data = rows.data + cursor_row_[i]++ * rows.row_bytes;
    if (!good) continue;  // the cursors of all inputs go on together
    py::object value = value_on(input.dtype, input.row_shape, data, rows.row_bytes);
    if (!value) {
      fail(row, Status::InvalidArgument("input " + std::to_string(i) + ": " + take_error_text()));
      good = false;
      continue;
    }
    arguments[i] = value.ptr();
    views_.push_back(std::move(value));
  }
  return good;
}

void FunctionRunner::run_each(Function* function, const RunTask& task) {
  std::vector<PyObject*> arguments(function->inputs + 1);
  for (std::uint32_t row = 0; row < task.head.rows; ++row) {
    if (!make_arguments(task, row, arguments.data() + 1)) continue;
    // The element before the arguments may be used by the callee for `self`.
    const auto result = py::reinterpret_steal<py::object>(
        PyObject_Vectorcall(function->callable.ptr(), arguments.data() + 1,
                            static_cast<std::size_t>(function->inputs) | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    if (result) {
      take_result(*function, row, result.ptr());
    } else {
      fail(row, take_exception(*function));
    }
  }
}

void FunctionRunner::run_batch(Function* function, const RunTask& task) {
  std::vector<PyObject*> arguments(function->inputs);
  pending_.clear();
  instances_.clear();
  for (std::uint32_t row = 0; row < task.head.rows; ++row) {
    if (!make_arguments(task, row, arguments.data())) continue;
    auto instance = py::reinterpret_steal<py::object>(PyTuple_New(static_cast<Py_ssize_t>(function->inputs)));
    if (!instance) {
      fail(row, Status::ResourceExhausted(take_error_text()));
      continue;
    }
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      Py_INCREF(arguments[i]);
      PyTuple_SET_ITEM(instance.ptr(), static_cast<Py_ssize_t>(i), arguments[i]);
    }
    pending_.push_back(row);
    instances_.push_back(std::move(instance));
  }
  std::size_t next = 0;
  while (next < pending_.size()) {
    auto batch = py::reinterpret_steal<py::object>(PyTuple_New(static_cast<Py_ssize_t>(pending_.size() - next)));
    py::object items;
    if (batch) {
      for (std::size_t i = next; i < pending_.size(); ++i) {
        PyTuple_SET_ITEM(batch.ptr(), static_cast<Py_ssize_t>(i - next), instances_[i].inc_ref().ptr());
      }
      items = py::reinterpret_steal<py::object>(PyObject_CallOneArg(function->callable.ptr(), batch.ptr()));
    }
    if (!items) {
      const Status why = take_exception(*function);
      for (; next < pending_.size(); ++next) fail(pending_[next], why);
      break;
    }
    next = take_items(*function, items, next);
  }
  instances_.clear();
}

std::size_t FunctionRunner::take_items(const Function& function, const py::object& items, std::size_t next) {
  const std::size_t wanted = pending_.size() - next;
  std::size_t got = 0;
  if (PyList_Check(items.ptr()) || PyTuple_Check(items.ptr())) {
    // The list may change while its items are looked at (asnumpy() is the user's code).
    while (next < pending_.size() && got < static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items.ptr()))) {
      const auto item =
          py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(items.ptr(), static_cast<Py_ssize_t>(got)));
      take_result(function, pending_[next++], item.ptr());
      ++got;
    }
  } else if (PyIter_Check(items.ptr()) != 0) {
    while (next < pending_.size()) {
      const auto item = py::reinterpret_steal<py::object>(PyIter_Next(items.ptr()));
      if (item) {
        take_result(function, pending_[next++], item.ptr());
        ++got;
      } else if (PyErr_Occurred() != nullptr) {
        fail(pending_[next++], take_exception(function));
        return next;  // called again with those that are left
      } else {
        break;
      }
    }
  } else {
    const Status why = Status::Internal("the function returned " + type_name(items) +
                                        "; with batch_size it returns a generator, list or tuple with one item for "
                                        "each instance");
    for (; next < pending_.size(); ++next) fail(pending_[next], why);
    return next;
  }
  if (next < pending_.size()) {
    const Status why =
        Status::Internal("the function gave " + many(got, "result") + " for " + many(wanted, "instance"));
    for (; next < pending_.size(); ++next) fail(pending_[next], why);
  }
  return next;
}

void FunctionRunner::take_result(const Function& function, std::uint32_t row, PyObject* item) {
  const bool sequence = PyTuple_Check(item) || PyList_Check(item);
  const std::size_t count = sequence ? static_cast<std::size_t>(PySequence_Fast_GET_SIZE(item)) : 1;
  if (count != function.outputs) {
    return fail(row, Status::Internal("the function returned " +
                                      (sequence ? "a " + type_name(item) + " of " + many(count, "value")
                                                : "one value (" + type_name(item) + ")") +
                                      "; declared: " + many(function.outputs, "output")));
  }
  Status status;
  if (sequence) {
    // A copy, because the values may be changed by the user's code while they are looked at.
    std::vector<py::object> kept;
    std::vector<py::handle> values;
    for (std::size_t i = 0; i < count; ++i) {
      kept.push_back(py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(item, static_cast<Py_ssize_t>(i))));
      values.push_back(kept.back());
    }
    status = table_.set(row, values.data());
  } else {
    const py::handle value(item);
    status = table_.set(row, &value);
  }
  if (status.ok()) return;
  // A result that cannot be sent is no fault of the request.
  if (status.code() == Code::kInvalidArgument) status = Status::Internal(std::string(status.message()));
  fail(row, std::move(status));
}

void FunctionRunner::fail(std::uint32_t row, Status why) {
  result_->failures.push_back({row, why.code(), cut(std::string(why.message()))});
}

Status FunctionRunner::take_exception(const Function& function) {
  if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0) interrupted_ = true;
  if (may_log_traceback() && log_enabled(LogLevel::kWarning)) {
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* trace = nullptr;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    log_traceback(function.name, type, value, trace);
    PyErr_Restore(type, value, trace);
  }
  return Status::Internal(take_error_text());
}

void FunctionRunner::look_for_kept(Function* function) {
  bool kept = false;
  for (const py::object& view : views_) kept = kept || (view.ref_count() > 1 && PyUnicode_Check(view.ptr()) == 0);
  views_.clear();
  if (!kept || function->warned) return;
  function->warned = true;
  SERVOIR_WARNING("function '" + function->name +
                  "' seems to keep an array that it was given; it lies in memory that is used for other requests "
                  "afterwards, so keep a copy instead (said once)");
}

}  // namespace servoir::bindings
