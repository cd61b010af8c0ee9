#include "function_runner.h"

#include <pybind11/numpy.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <utility>

#include "base/checked.h"
#include "base/log.h"
#include "base/text.h"
#include "forked_child.h"
#include "made_once.h"

namespace servoir::bindings {
namespace {

constexpr std::size_t kLongestText = 4000;  // of an error, in bytes
constexpr std::size_t kLongestTraceback = 65536;
constexpr int kTracebacksPerSecond = 10;

std::string type_name(const py::handle& object) { return Py_TYPE(object.ptr())->tp_name; }

std::string many(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// Whether a traceback may be logged: a function that fails for every request would fill the disk. Then *left_out is how
// many were not logged since the last that was.
bool may_log_traceback(std::uint64_t* left_out) {
  using Clock = std::chrono::steady_clock;
  static Clock::time_point second;
  static int logged = 0;
  static std::uint64_t not_logged = 0;
  const Clock::time_point now = Clock::now();
  if (now - second >= std::chrono::seconds(1)) {
    second = now;
    logged = 0;
  }
  if (logged >= kTracebacksPerSecond) {
    ++not_logged;
    log_count_left_out();
    return false;
  }
  ++logged;
  *left_out = std::exchange(not_logged, 0);
  return true;
}

void log_traceback(const std::string& name, std::uint64_t left_out, PyObject* type, PyObject* value, PyObject* trace) {
  if (left_out > 0) {
    SERVOIR_WARNING(std::to_string(left_out) + " tracebacks before the next one were left out: at most " +
                    std::to_string(kTracebacksPerSecond) + " are logged a second");
  }
  try {
    const py::object lines =
        py::module_::import("traceback")
            .attr("format_exception")(py::handle(type), value != nullptr ? py::handle(value) : py::none(),
                                      trace != nullptr ? py::handle(trace) : py::none());
    // Texts may have lone surrogates (names of files that are not UTF-8), and any length; the end says what was raised.
    const auto text = py::str("").attr("join")(lines).attr("encode")("utf-8", "backslashreplace").cast<std::string>();
    const std::string_view end = cut_utf8_front(text, kLongestTraceback);
    SERVOIR_WARNING("function '" + name + "' failed:\n" + (end.size() < text.size() ? "…" : "") + std::string(end));
  } catch (const std::exception&) {
    SERVOIR_WARNING("function '" + name + "' failed, and its traceback cannot be printed");
  }
}

// The class of the exceptions that choose a status themselves.
const py::object& stage_error() {
  static std::atomic<py::object*> type{nullptr};
  return made_once(
      &type, [] { return std::make_unique<py::object>(py::module_::import("servoir.errors").attr("StageError")); });
}

// The status that the exception, which is a StageError, has chosen.
Code chosen_code(PyObject* error) {
  const auto code = py::reinterpret_steal<py::object>(PyObject_GetAttrString(error, "code"));
  const long number = code ? PyLong_AsLong(code.ptr()) : -1;
  PyErr_Clear();
  const bool is_code = number > static_cast<long>(Code::kOk) && number <= static_cast<long>(Code::kDataLoss);
  return is_code ? static_cast<Code>(number) : Code::kInternal;
}

// A str, and an array of texts, have memory of their own.
bool lies_on_arena(const py::object& view) {
  constexpr int kOwnData = py::detail::npy_api::NPY_ARRAY_OWNDATA_;
  return PyUnicode_Check(view.ptr()) == 0 && (py::detail::array_proxy(view.ptr())->flags & kOwnData) == 0;
}

// The text, or its beginning and "…" if it is longer than the limit.
std::string cut(std::string_view text) {
  std::string cut_text(cut_utf8(text, kLongestText));
  if (cut_text.size() < text.size()) cut_text += "…";
  return cut_text;
}

}  // namespace

Status FunctionRunner::add(std::uint32_t callee, Function function) {
  (void)stage_error();  // nothing can be imported while an exception is looked at
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

  copying_ = view_ == nullptr || function.writes;
  if (view_ != nullptr) {
    if (kept_arrays_) view_->settle(*arena_, ranges_, PrivateView::Changes::kDrop);
    view_->watch();
  }
  const auto start = std::chrono::steady_clock::now();
  if (function.batched) {
    run_batch(&function, task);
  } else {
    run_each(&function, task);
  }
  result->run_ns = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count());

  keep_changes(&function);
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
  ranges_.clear();
  inputs_.resize(task.inputs.size());
  cursors_.assign(task.inputs.size(), {});
  for (std::size_t i = 0; i < task.inputs.size(); ++i) {
    const RunTask::Input& input = task.inputs[i];
    std::vector<Rows>& rows = inputs_[i];
    rows.clear();
    std::uint64_t needed = 0;  // what is less than this is no row; array_of_texts() looks at texts
    if (!is_text(input.dtype)) {
      SERVOIR_ASSIGN_OR_RETURN(needed, input.row_shape.byte_size(input.dtype));
    }
    for (const RowRun& piece : input.pieces) {
      std::uint64_t bytes = 0;
      if (piece.row_bytes < needed || !checked_mul(piece.row_bytes, piece.rows, &bytes)) {
        return Status::Internal("a piece of " + std::to_string(piece.row_bytes) + " bytes a row for a value of " +
                                std::to_string(needed));
      }
      SERVOIR_ASSIGN_OR_RETURN(std::byte* const data, arena_->resolve(piece.offset, bytes));
      rows.push_back({data, data, piece.row_bytes, piece.rows});
      if (view_ == nullptr || !is_view(input.dtype, input.row_shape)) continue;
      SERVOIR_ASSIGN_OR_RETURN(rows.back().view, view_->resolve(piece.offset, bytes));
      ranges_.push_back({piece.offset, bytes});
    }
  }
  return Status::Ok();
}

Status FunctionRunner::make_arguments(const RunTask& task, std::uint32_t row, PyObject** arguments) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const RunTask::Input& input = task.inputs[i];
    Cursor& cursor = cursors_[i];
    if (row < cursor.first) cursor = {};
    while (row >= cursor.first + inputs_[i][cursor.piece].rows) cursor.first += inputs_[i][cursor.piece++].rows;
    const Rows& rows = inputs_[i][cursor.piece];
    const std::uint64_t start = (row - cursor.first) * rows.row_bytes;
    const bool copied = copying_ && is_view(input.dtype, input.row_shape);
    py::object value = value_on(input.dtype, input.row_shape, (copied ? rows.data : rows.view) + start, rows.row_bytes);
    if (value && copied) value = copy_of(std::move(value), row, rows.data + start, rows.row_bytes);
    if (!value) return Status::InvalidArgument("input " + std::to_string(i) + ": " + take_error_text());
    arguments[i] = value.ptr();
    if (!copied) views_.push_back(std::move(value));
  }
  return Status::Ok();
}

py::object FunctionRunner::copy_of(py::object array, std::uint32_t row, std::byte* data, std::uint64_t bytes) {
  for (auto copy = copies_.rbegin(); copy != copies_.rend() && copy->row == row; ++copy) {
    if (copy->data == data) return copy->array;
  }
  py::object made = copy_array(array);
  if (made) copies_.push_back({row, made, data, bytes});
  return made;
}

void FunctionRunner::keep_changes(Function* function) {
  if (view_ != nullptr && view_->changed() && view_->settle(*arena_, ranges_, PrivateView::Changes::kKeep)) {
    function->writes = true;
  }
  // After the view, in which the calls before may have left something.
  for (const Copy& copy : copies_) copy_into(copy.array, copy.data, copy.bytes);
  copies_.clear();
}

Status FunctionRunner::make_instance(const RunTask& task, std::uint32_t row, py::object* instance) {
  arguments_.resize(inputs_.size());
  SERVOIR_RETURN_IF_ERROR(make_arguments(task, row, arguments_.data()));
  *instance = py::reinterpret_steal<py::object>(PyTuple_New(static_cast<Py_ssize_t>(arguments_.size())));
  if (!*instance) return Status::ResourceExhausted(take_error_text());
  for (std::size_t i = 0; i < arguments_.size(); ++i) {
    Py_INCREF(arguments_[i]);
    PyTuple_SET_ITEM(instance->ptr(), static_cast<Py_ssize_t>(i), arguments_[i]);
  }
  return Status::Ok();
}

void FunctionRunner::run_each(Function* function, const RunTask& task) {
  std::vector<PyObject*> arguments(function->inputs + 1);
  for (std::uint32_t row = 0; row < task.head.rows; ++row) {
    if (Status s = make_arguments(task, row, arguments.data() + 1); !s.ok()) {
      fail(row, s);
      continue;
    }
    // The element before the arguments may be used by the callee for `self`.
    const auto result = py::reinterpret_steal<py::object>(
        PyObject_Vectorcall(function->callable.ptr(), arguments.data() + 1,
                            static_cast<std::size_t>(function->inputs) | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    if (is_forked_child()) end_forked_child(function->name);
    if (result) {
      take_result(*function, row, result.ptr());
    } else {
      fail(row, take_exception(*function));
    }
  }
}

void FunctionRunner::run_batch(Function* function, const RunTask& task) {
  pending_.clear();
  instances_.clear();
  for (std::uint32_t row = 0; row < task.head.rows; ++row) {
    py::object instance;
    if (Status s = make_instance(task, row, &instance); !s.ok()) {
      fail(row, s);
      continue;
    }
    pending_.push_back(row);
    instances_.push_back(std::move(instance));
  }
  bool again = false;
  const auto run = [&](std::uint32_t first, std::uint32_t count) -> Failed {
    if (again) {
      // The call before may have changed its inputs.
      copying_ = true;
      std::erase_if(copies_, [&](const Copy& copy) {
        return copy.row >= pending_[first] && copy.row <= pending_[first + count - 1];
      });
      for (std::uint32_t i = first; i < first + count; ++i) {
        if (Status s = make_instance(task, pending_[i], &instances_[i]); !s.ok()) return {std::move(s)};
      }
    }
    again = true;
    return call(*function, first, count);
  };
  const auto give_up = [&](std::uint32_t first, std::uint32_t count, const Status& why) {
    for (std::uint32_t i = first; i < first + count; ++i) fail(pending_[i], why);
  };
  run_halving(0, static_cast<std::uint32_t>(pending_.size()), run, give_up);
  instances_.clear();
}

Failed FunctionRunner::call(const Function& function, std::uint32_t first, std::uint32_t count) {
  const auto batch = py::reinterpret_steal<py::object>(PyTuple_New(static_cast<Py_ssize_t>(count)));
  if (!batch) return {Status::ResourceExhausted(take_error_text())};
  for (std::uint32_t i = 0; i < count; ++i) {
    PyTuple_SET_ITEM(batch.ptr(), static_cast<Py_ssize_t>(i), instances_[first + i].inc_ref().ptr());
  }
  const auto items = py::reinterpret_steal<py::object>(PyObject_CallOneArg(function.callable.ptr(), batch.ptr()));
  if (is_forked_child()) end_forked_child(function.name);
  if (!items) return broken_off(function, take_exception(function), count, 0);
  return take_items(function, items, first, count);
}

Failed FunctionRunner::take_items(const Function& function, const py::object& items, std::uint32_t first,
                                  std::uint32_t count) {
  std::uint32_t got = 0;
  if (PyList_Check(items.ptr()) || PyTuple_Check(items.ptr())) {
    // The list may change while its items are looked at (asnumpy() is the user's code).
    while (got < count && got < static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items.ptr()))) {
      const auto item =
          py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(items.ptr(), static_cast<Py_ssize_t>(got)));
      take_result(function, pending_[first + got++], item.ptr());
    }
  } else if (PyIter_Check(items.ptr()) != 0) {
    while (got < count) {
      const auto item = py::reinterpret_steal<py::object>(PyIter_Next(items.ptr()));
      if (is_forked_child()) end_forked_child(function.name);
      if (!item) break;
      take_result(function, pending_[first + got++], item.ptr());
    }
    if (PyErr_Occurred() != nullptr) return broken_off(function, take_exception(function), count, got);
  } else {
    return broken_off(function,
                      Status::Internal("the function returned " + type_name(items) +
                                       "; with batch_size it returns a generator, list or tuple with one item for "
                                       "each instance"),
                      count, 0);
  }
  if (got == count) return {};
  // The function's own promise is that the first results are those of the first instances, and another call would not
  // keep it better.
  return {Status::Internal("the function gave " + many(got, "result") + " for " + many(count, "instance")), false, got};
}

Failed FunctionRunner::broken_off(const Function& function, Status why, std::uint32_t count, std::uint32_t done) const {
  if (function.rerun || count == 1) return {std::move(why), function.rerun && !interrupted_, done};
  return {Status(why.code(), std::string(why.message()) + "; its batch was not run again because of rerun=False"),
          false, done};
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
  result_->failures.push_back({row, why.code(), cut(why.message())});
}

Status FunctionRunner::take_exception(const Function& function) {
  if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0) interrupted_ = true;
  if (PyErr_ExceptionMatches(stage_error().ptr()) != 0) {
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* trace = nullptr;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    const Code code = chosen_code(value);
    PyErr_Restore(type, value, trace);
    return {code, take_error_text()};
  }
  if (std::uint64_t left_out = 0; log_enabled(LogLevel::kWarning) && may_log_traceback(&left_out)) {
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* trace = nullptr;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    log_traceback(function.name, left_out, type, value, trace);
    PyErr_Restore(type, value, trace);
  }
  return Status::Internal(take_error_text());
}

std::vector<std::uint64_t> FunctionRunner::take_unused_calls() {
  std::vector<std::uint64_t> unused;
  auto left = lent_.begin();
  for (auto first = lent_.begin(); first != lent_.end();) {
    const auto end = std::find_if(first, lent_.end(), [&](const Lent& lent) { return lent.call != first->call; });
    const bool used = std::any_of(first, end, [](const Lent& lent) { return lent.view && lent.view.ref_count() > 1; });
    if (!used) unused.push_back(first->call);
    // Compacted in place; the arrays that are not used go with the erase().
    left = used ? std::move(first, end, left) : left;
    first = end;
  }
  lent_.erase(left, lent_.end());
  return unused;
}

void FunctionRunner::look_for_kept(Function* function) {
  bool kept = false;
  for (Lent& lent : lent_) {
    if (lent.view) views_.push_back(std::move(lent.view));
  }
  lent_.clear();
  for (const py::object& view : views_) kept = kept || (view.ref_count() > 1 && lies_on_arena(view));
  views_.clear();
  kept_arrays_ = kept_arrays_ || kept;
  if (!kept || function->warned) return;
  function->warned = true;
  SERVOIR_WARNING("function '" + function->name +
                  "' seems to keep an array that it was given; it lies in memory that is used for other requests "
                  "afterwards, so keep a copy instead (said once)");
}

}  // namespace servoir::bindings
