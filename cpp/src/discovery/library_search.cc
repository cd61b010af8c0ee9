#include "discovery/library_search.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fnmatch.h>
#include <link.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "discovery/elf_file.h"

namespace servoir {
namespace {

struct CloseLibrary {
  void operator()(void* handle) const { ::dlclose(handle); }
};
using Library = std::unique_ptr<void, CloseLibrary>;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

std::string loader_text() {
  const char* text = ::dlerror();
  return text != nullptr ? text : "the loader gave no reason";
}

// Files of the directory that match one of the patterns: pattern by pattern, newest version first.
std::vector<std::string> matching_files(const std::string& directory, const std::vector<std::string>& patterns,
                                        DIR* open_directory) {
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(open_directory)) names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end(),
            [](const std::string& a, const std::string& b) { return ::strverscmp(a.c_str(), b.c_str()) > 0; });
  std::vector<std::string> files;
  for (const std::string& pattern : patterns) {
    for (std::string& name : names) {
      if (name.empty() || ::fnmatch(pattern.c_str(), name.c_str(), 0) != 0) continue;
      files.push_back(directory);
      files.back().append("/").append(name);
      name.clear();
    }
  }
  return files;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  return resolved ? resolved.get() : path;
}

class Search {
 public:
  Search(const LibrarySearch& search, const Judgement& accept) : search_(search), accept_(accept) {}

  SearchOutcome run() && {
    for (const SearchPlace& place : search_.places) {
      if (outcome_.found()) break;
      look_at(place);
    }
    if (!outcome_.found() && search_.loader_paths) ask_loader();
    return std::move(outcome_);
  }

 private:
  void refuse(const std::string& path, const std::string& reason, std::string refusal) {
    outcome_.tried.push_back({path, reason, std::move(refusal)});
  }

  void look_at(const SearchPlace& place) {
    struct stat info {};
    if (::stat(place.path.c_str(), &info) != 0) {
      return refuse(place.path, place.reason,
                    errno == ENOENT ? "does not exist" : std::string("cannot be examined: ") + std::strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) return judge(place.path, place.reason);
    const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(place.path.c_str()));
    if (!directory) return refuse(place.path, place.reason, std::string("cannot be read: ") + std::strerror(errno));
    const std::vector<std::string> files = matching_files(place.path, search_.patterns, directory.get());
    if (files.empty()) return refuse(place.path, place.reason, "has no " + joined(search_.patterns));
    for (const std::string& file : files) {
      judge(file, place.reason);
      if (outcome_.found()) return;
    }
  }

  void ask_loader() {
    for (const std::string& name : search_.patterns) {
      if (name.find_first_of("*?[") != std::string::npos) continue;
      const std::string reason = "the loader's own paths";
      if (tries()) {
        const LibraryReport report = try_it(name);
        if (report.status.ok()) {
          judge(report.path, reason);
        } else if (report.status.code() != Code::kUnavailable) {
          refuse(name, reason, std::string(report.status.message()));
        }
      }
      if (!tries()) ask_loader_here(name, reason);
      if (outcome_.found()) return;
    }
  }

  void ask_loader_here(const std::string& name, const std::string& reason) {
    if (!accept_) return;
    const Library library(::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL));
    if (!library) return refuse(name, reason, "cannot be loaded: " + loader_text());
    link_map* map = nullptr;
    const bool known = ::dlinfo(library.get(), RTLD_DI_LINKMAP, &map) == 0 && map != nullptr;
    judge(known ? map->l_name : name, reason);
  }

  [[nodiscard]] bool tries() const { return !search_.program.path.empty() && outcome_.warning.empty(); }

  LibraryReport try_it(const std::string& library) {
    LibraryReport report = try_library(search_.program, {library, search_.symbols, search_.plugin, search_.devices});
    if (report.status.code() == Code::kUnavailable) outcome_.warning = std::string(report.status.message());
    return report;
  }

  [[nodiscard]] Status check_soname(const std::string& soname) const {
    if (soname.empty() || search_.sonames.empty()) return Status::Ok();
    for (const std::string& pattern : search_.sonames) {
      if (::fnmatch(pattern.c_str(), soname.c_str(), 0) == 0) return Status::Ok();
    }
    return Status::FailedPrecondition("is another library: its name (soname) is " + soname + ", not " +
                                      joined(search_.sonames));
  }

  void judge(const std::string& path, const std::string& reason) {
    // The usual links (libx.so -> libx.so.1) would only repeat the refusal.
    if (!seen_.insert(real_path(path)).second) return;
    const Status status = verdict(path);
    outcome_.tried.push_back({path, reason, std::string(status.message())});
    if (status.ok()) outcome_.path = path;
  }

  [[nodiscard]] Status verdict(const std::string& path) {
    SERVOIR_ASSIGN_OR_RETURN(const SharedObject object, read_shared_object(path));
    SERVOIR_RETURN_IF_ERROR(check_soname(object.soname));
    outcome_.report = {};
    if (tries()) {
      LibraryReport report = try_it(path);
      if (!report.status.ok() && report.status.code() != Code::kUnavailable) return report.status;
      outcome_.report = std::move(report);
    }
    if (!accept_) {
      return outcome_.warning.empty() ? Status::Ok() : Status::Unavailable("was not tried: " + outcome_.warning);
    }
    // Held while the last judgement loads it again, which costs nothing then.
    const Library library(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
    if (!library) return Status::FailedPrecondition("cannot be loaded: " + loader_text());
    return accept_(path, outcome_.report);
  }

  const LibrarySearch& search_;
  const Judgement& accept_;
  std::set<std::string> seen_;
  SearchOutcome outcome_;
};

}  // namespace

std::string SearchOutcome::text() const {
  std::string lines;
  for (const Candidate& candidate : tried) {
    if (!lines.empty()) lines += '\n';
    lines += "  " + candidate.path + " (" + candidate.reason + "): ";
    lines += candidate.refusal.empty() ? "taken" : candidate.refusal;
  }
  return lines.empty() ? "  nowhere to look: no directory was given" : lines;
}

SearchOutcome find_library(const LibrarySearch& search, const Judgement& accept) {
  return Search(search, accept).run();
}

}  // namespace servoir
