// Rows that fail as a batch are run again in parts, down to the single row, so that only the guilty rows fail. For
// models and functions alike.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace servoir {

// Why a run of some rows failed.
struct Failed {
  Status status;  // Ok: it did not
  // Some of the rows may have caused it, and others be innocent. False: running them again would not help, or is not
  // allowed.
  bool may_be_some = false;
  // How many rows, from the first on, have their results nevertheless; the run broke off at the row after them.
  std::uint32_t done = 0;
};

// Calls run(first, count), which returns a Failed, for the rows that are given, and for parts of them where it fails.
// give_up(first, count, status) is called for the rows that have failed for good. n rows are run at most 2n - 1 times.
template <typename Run, typename GiveUp>
void run_halving(std::uint32_t first, std::uint32_t count, const Run& run, const GiveUp& give_up) {
  while (count > 0) {
    const Failed failed = run(first, count);
    if (failed.status.ok()) return;
    first += failed.done;
    count -= failed.done;
    if (!failed.may_be_some || (count == 1 && failed.done == 0)) return give_up(first, count, failed.status);
    if (failed.done == 0) {
      const std::uint32_t half = count / 2;
      run_halving(first, half, run, give_up);
      first += half;
      count -= half;
      continue;
    }
    // The row at which the run broke off is the likely cause, but only a run of its own shows it. If that fails as
    // well, the first text stays: it knows the place in the batch.
    if (!run(first, 1U).status.ok()) give_up(first, 1U, failed.status);
    ++first;
    --count;
  }
}

}  // namespace servoir
