// FunctionRunner: runs the tasks of a worker's Python stages.
//
// A function gets arrays that lie on the arena itself. They are good until the batch is answered; the memory stays
// mapped, so an array that a function keeps longer shows other data then, but never crashes; that is said once in the
// log. A change in place is seen by later stages that use the same value.
//
// What a function returns, and what that means for each instance, is docs-level contract; in short: without batching
// one call and one result an instance; with it one call for a tuple of instances, and a generator, list or tuple with
// an item for each. More items are ignored, missing ones are errors; an exception out of a generator costs one
// instance, and the function is called again with those that are left.
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
#include "memory/arena.h"
#include "value_table.h"
#include "worker/task_rooms.h"

namespace servoir::bindings {

class FunctionRunner {
 public:
  struct Function {
    py::object callable;
    std::uint32_t inputs = 0;
    std::uint32_t outputs = 0;
    bool batched = false;
    std::string name;
    bool warned = false;  // that it keeps arrays
  };

  explicit FunctionRunner(const ArenaView* arena) : arena_(arena) {}

  // AlreadyExists if the callee has a function.
  [[nodiscard]] Status add(std::uint32_t callee, Function function);
  // Every row of *result then has its outputs or a failure. Internal: the task makes no sense.
  [[nodiscard]] Status run(const RunTask& task, TaskRooms* rooms, RowsResult* result);
  // An array that the running function is given beside its arguments, good for as long as they are.
  void lend(py::object view) { views_.push_back(std::move(view)); }
  // A KeyboardInterrupt came out of a function: the worker is to end.
  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  // A piece's memory.
  struct Rows {
    std::byte* data = nullptr;
    std::uint64_t row_bytes = 0;
    std::uint64_t rows = 0;
  };
  [[nodiscard]] Status resolve(const Function& function, const RunTask& task);
  // The arguments of a row; false with the row's failure recorded.
  [[nodiscard]] bool make_arguments(const RunTask& task, std::uint32_t row, PyObject** arguments);
  void run_each(Function* function, const RunTask& task);
  void run_batch(Function* function, const RunTask& task);
  // Takes the items of one call for the rows from `next` on; returns the first row that has neither result nor failure.
  [[nodiscard]] std::size_t take_items(const Function& function, const py::object& items, std::size_t next);
  void take_result(const Function& function, std::uint32_t row, PyObject* item);
  void fail(std::uint32_t row, Status why);
  // The failure of the error that is set; logs its traceback.
  [[nodiscard]] Status take_exception(const Function& function);
  void look_for_kept(Function* function);

  const ArenaView* arena_;
  std::map<std::uint32_t, Function> functions_;
  bool interrupted_ = false;

  // Of the current task; kept to reuse the memory.
  std::vector<std::vector<Rows>> inputs_;  // pieces of each input
  std::vector<std::size_t> cursor_;        // piece of each input that the next row is in
  std::vector<std::uint64_t> cursor_row_;  // and the row in it
  std::vector<py::object> views_;          // arrays that were given to the function
  std::vector<py::object> instances_;      // arguments of a batched function, for the rows in pending_
  std::vector<std::uint32_t> pending_;
  ValueTable table_;
  RowsResult* result_ = nullptr;
};

}  // namespace servoir::bindings
