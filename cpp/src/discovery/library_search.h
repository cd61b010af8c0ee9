// Finding the library of a backend's runtime: candidates in order, each judged, each refusal kept.
//
// The places come from the caller, in order, each with the reason why it is looked at ("SERVOIR_OPENVINO_DIR", "the
// build was linked against it", "site-packages of this interpreter"). A place is a directory or the library's file
// itself. In a directory the files that match the patterns are candidates, the newest version first. After the places
// the loader's own paths are asked for the patterns that are plain names.
//
// A candidate passes a chain of judgements and is refused at the first that fails: it is a whole shared object for this
// machine; its soname is that of the library; a process of its own can load it with all it needs, finds its symbols,
// and starts the runtime with it (library_trial.h); this process can load it (RTLD_NOW | RTLD_LOCAL); the caller
// accepts it. LD_LIBRARY_PATH is neither set nor looked at. Only the two last judgements run code of the library in
// this process; call from one thread at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "discovery/library_trial.h"

namespace servoir {

struct SearchPlace {
  std::string path;
  std::string reason;
};

struct Candidate {
  std::string path;     // of the file; of the directory if there was nothing in it
  std::string reason;   // of the place
  std::string refusal;  // empty: this library was taken
};

// A judgement on a candidate's path, with what its trial said (empty without a trial); its message continues "PATH …".
using Judgement = std::function<Status(const std::string& path, const LibraryReport& report)>;

struct LibrarySearch {
  std::string what;                   // for messages: "OpenVINO's C library"
  std::vector<std::string> patterns;  // file names, in order of preference, with shell wildcards
  std::vector<SearchPlace> places;
  bool loader_paths = true;
  std::vector<std::string> sonames = {};  // patterns: one of them, where the library has a soname; empty: any
  std::vector<std::string> symbols = {};  // that it must have, checked by the trial
  std::string plugin = {};                // that starts the runtime in the trial
  bool devices = false;                   // the trial asks for the devices
  TrialProgram program = {};
};

struct SearchOutcome {
  std::string path;  // of the library that was taken; empty if none was
  std::vector<Candidate> tried;
  LibraryReport report;  // of the trial of the library that was taken
  std::string warning;   // not empty: candidates could not be tried, and why

  [[nodiscard]] bool found() const { return !path.empty(); }
  // One line a candidate: "PATH (REASON): REFUSAL".
  [[nodiscard]] std::string text() const;
};

// `accept` is the last judgement; what it opens keeps the library loaded. Empty: nothing is loaded in this process, and
// a trial is all that a candidate has to pass.
[[nodiscard]] SearchOutcome find_library(const LibrarySearch& search, const Judgement& accept);

}  // namespace servoir
