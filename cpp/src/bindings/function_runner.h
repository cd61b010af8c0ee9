// FunctionRunner: runs the tasks of a worker's Python stages.
//
// A function gets arrays that lie on the arena, in a view that is private to the worker (worker/private_view.h). They
// hold until the batch is answered. The memory stays mapped, so an array that a function keeps longer shows other data
// then, but never crashes; the log says so once. What the function changes in place comes into the arena when the
// batch is done, so later stages that use the same value see the change, and a second run of the batch does not. A
// function that was seen to change its inputs gets copies from then on, which are cheaper than the page faults; so do
// the instances of a call that is made again.
//
// docs/servables.md has what a function returns, and what that means for each instance. In short: without batching
// there is one call and one result for each instance; with it one call for a tuple of instances, and a generator, list
// or tuple with an item for each. More items are ignored, and too few are an error of the instances without one. A call
// that raises is made again for parts of its instances, down to the single one (worker/halving.h), unless the function
// says that it has effects.
//
// Everything here runs in the thread of the function lane, which holds the interpreter lock.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "channel/message.h"
#include "memory/arena_view.h"
#include "value_table.h"
#include "worker/halving.h"
#include "worker/private_view.h"
#include "worker/task_rooms.h"

namespace servoir::bindings {

class FunctionRunner {
 public:
  struct Function {
    py::object callable;
    std::uint32_t inputs = 0;
    std::uint32_t outputs = 0;
    bool batched = false;
    bool rerun = true;  // false: it has effects, and is not called again for the instances of a call that failed
    std::string name;
    bool warned = false;  // that it keeps arrays
    bool writes = false;  // it has changed its inputs in place
  };

  // Both outlive this object. Without a view functions get copies.
  FunctionRunner(const ArenaView* arena, PrivateView* view) : arena_(arena), view_(view) {}

  // AlreadyExists if the callee has a function already.
  [[nodiscard]] Status add(std::uint32_t callee, Function function);
  // Every row of *result then has its outputs or a failure. Internal: the task makes no sense.
  [[nodiscard]] Status run(const RunTask& task, TaskRooms* rooms, RowsResult* result);
  // An array of a model call that the running function gets in addition to its arguments; it is valid as long as these.
  // A null object: the call has given something else, too.
  void lend(std::uint64_t call, py::object view) { lent_.push_back({call, std::move(view)}); }
  // The calls of whose arrays the function has kept none; asked once for each.
  [[nodiscard]] std::vector<std::uint64_t> take_unused_calls();
  // Whether a KeyboardInterrupt came out of a function: then the worker is to end.
  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  // The memory of a piece.
  struct Rows {
    std::byte* data = nullptr;  // in the arena
    std::byte* view = nullptr;  // the same in the private view
    std::uint64_t row_bytes = 0;
    std::uint64_t rows = 0;
  };
  // An argument that is a copy.
  struct Copy {
    std::uint32_t row = 0;
    py::object array;
    std::byte* data = nullptr;  // in the arena
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] Status resolve(const Function& function, const RunTask& task);
  // The arguments of a row, which views_ or copies_ keep.
  [[nodiscard]] Status make_arguments(const RunTask& task, std::uint32_t row, PyObject** arguments);
  // An argument that is a copy of this memory: the same for several inputs that are one value.
  [[nodiscard]] py::object copy_of(py::object array, std::uint32_t row, std::byte* data, std::uint64_t bytes);
  [[nodiscard]] Status make_instance(const RunTask& task, std::uint32_t row, py::object* instance);
  // Brings what was changed in place into the arena.
  void keep_changes(Function* function);
  void run_each(Function* function, const RunTask& task);
  void run_batch(Function* function, const RunTask& task);
  // Calls the function with `count` of instances_ from `first` on, and takes its items.
  [[nodiscard]] Failed call(const Function& function, std::uint32_t first, std::uint32_t count);
  [[nodiscard]] Failed take_items(const Function& function, const py::object& items, std::uint32_t first,
                                  std::uint32_t count);
  [[nodiscard]] Failed broken_off(const Function& function, Status why, std::uint32_t count, std::uint32_t done) const;
  void take_result(const Function& function, std::uint32_t row, PyObject* item);
  void fail(std::uint32_t row, Status why);
  // Makes a failure of Python's error that is set, and logs its traceback, unless the error is meant for the client.
  [[nodiscard]] Status take_exception(const Function& function);
  void look_for_kept(Function* function);

  const ArenaView* arena_;
  PrivateView* view_;
  std::map<std::uint32_t, Function> functions_;
  bool interrupted_ = false;
  bool kept_arrays_ = false;  // a function has kept some, and may write to them at any time

  // Of the current task; kept to reuse the memory.
  struct Cursor {
    std::size_t piece = 0;
    std::uint64_t first = 0;  // the piece's first row
  };
  std::vector<std::vector<Rows>> inputs_;   // pieces of each input
  std::vector<Cursor> cursors_;             // of each input, the piece of the last row that was asked for
  std::vector<PrivateView::Range> ranges_;  // of all arrays of the task
  std::vector<py::object> views_;           // arrays that were given to the function
  std::vector<Copy> copies_;
  struct Lent {
    std::uint64_t call = 0;
    py::object view;
  };
  std::vector<Lent> lent_;             // arrays of model calls, in the order of the calls
  bool copying_ = false;               // arguments are copies
  std::vector<PyObject*> arguments_;   // of a row; views_ and copies_ own them
  std::vector<py::object> instances_;  // arguments of a batched function, for the rows in pending_
  std::vector<std::uint32_t> pending_;
  ValueTable table_;
  RowsResult* result_ = nullptr;
};

}  // namespace servoir::bindings
