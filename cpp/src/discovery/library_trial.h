// The trial of a library, or of a plug-in with its runtime's library, by the program servoir_trial_load (in program/):
// it is loaded there with all it needs before it is loaded here, so that a library that aborts, crashes, ends the
// process or hangs is refused like any other.
//
// What a trial found is remembered as long as the files are the same (device, inode, size, time of change), except for
// what the loader refuses: that may be another file's fault. Any thread may call.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/status.h"

namespace servoir {

struct TrialProgram {
  std::string path;  // empty: nothing is tried
  std::chrono::milliseconds limit{15000};
};

struct LibraryTrial {
  std::string library;               // a path, or a name for the loader; empty: only the plug-in
  std::vector<std::string> symbols;  // that it must have
  std::string plugin;                // empty, or the plug-in that is to start the library
  bool devices = false;              // ask for the devices, which may take long
};

struct LibraryReport {
  // OK; FailedPrecondition, with a message that continues "PATH …"; Unavailable if the program cannot be started.
  Status status;
  std::string path;                   // of the library, as the loader found it
  std::string backend;                // what follows is the plug-in's
  std::vector<std::string> patterns;  // backend.h: library_patterns, library_symbols
  std::vector<std::string> symbols;
  std::string version;  // of the started runtime
  std::vector<std::string> devices;
};

[[nodiscard]] LibraryReport try_library(const TrialProgram& program, const LibraryTrial& trial);

}  // namespace servoir
