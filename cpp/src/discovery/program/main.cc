// servoir_trial_load: loads a plug-in, a library, or both, and says what came of it; see discovery/trial.h for how, and
// discovery/library_trial.h for the side that asks.
//
//   servoir_trial_load [--plugin FILE] [--library FILE] [--symbol NAME …] [--devices]
//
//   records := ("name" | "pattern" | "symbol")* of the plug-in's table, "path" of the library, "version" and "device"*
//              of the runtime that was started; or "refused" with the reason
//
// A plug-in alone is only started if its runtime is inside it. The program is linked to the C++ library, as the worker
// is, and to nothing else of Servoir. It has one thread and ends without any destructor.
#include <dlfcn.h>
#include <link.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "discovery/plugin_table.h"
#include "discovery/trial.h"
#include "discovery/trial_report.h"
#include "servoir/backend.h"

namespace {

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(servoir::kTrialReportFd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) ::_exit(1);  // the server has closed the pipe
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

void tell(std::string_view key, const std::string& text) { write_all(servoir::trial_record(key, text)); }

[[noreturn]] void end() {
  write_all(servoir::kTrialReportEnd);
  ::_exit(0);
}

[[noreturn]] void refuse(const std::string& reason) {
  tell("refused", reason);
  end();
}

void* load(const std::string& file) {
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library != nullptr) return library;
  const char* text = ::dlerror();
  const std::string why = text != nullptr ? text : "the loader gave no reason";
  // The loader begins with the file that is at fault.
  if (why.starts_with(file)) refuse("cannot be loaded: " + why);
  refuse("cannot be loaded because of a library that it needs: " + why);
}

void check_symbol(void* library, const char* symbol) {
  if (::dlsym(library, symbol) == nullptr) {
    refuse(std::string("has no function ") + symbol + ": it is another library, or another version, than is needed");
  }
}

struct Arguments {
  std::string plugin;
  std::string library;
  std::vector<std::string> symbols;
  bool devices = false;
};

const servoir_backend* load_plugin(const std::string& file) {
  std::string why;
  const servoir_backend* table = servoir::plugin_table(load(file), &why);
  if (table == nullptr) refuse(why);
  return table;
}

void describe(const servoir_backend* table) {
  tell("name", table->name);
  for (const char* const* one = table->library_patterns; one != nullptr && *one != nullptr; ++one)
    tell("pattern", *one);
  for (const char* symbol : servoir::library_symbols(table)) tell("symbol", symbol);
}

void start(const servoir_backend* table, const std::string& library, bool devices) {
  const char* file = library.c_str();
  servoir_runtime* runtime = nullptr;
  static servoir_error error;
  if (table->initialise(&file, library.empty() ? 0 : 1, &runtime, &error) != SERVOIR_OK) {
    refuse({error.text, ::strnlen(error.text, sizeof(error.text))});
  }
  if (const char* version = table->runtime_version(runtime); version != nullptr) tell("version", version);
  if (!devices || !servoir::tells_devices(table)) return;
  static std::array<char, 4096> names;
  if (table->devices(runtime, names.data(), names.size(), &error) != SERVOIR_OK) return;  // it works without them
  std::string_view rest(names.data(), ::strnlen(names.data(), names.size()));
  while (!rest.empty()) {
    const std::size_t line = rest.find('\n');
    tell("device", std::string(rest.substr(0, line)));
    rest.remove_prefix(line == std::string_view::npos ? rest.size() : line + 1);
  }
}

Arguments read_arguments(int count, char** words) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--devices") {
      arguments.devices = true;
    } else if (i + 1 < count && word == "--plugin") {
      arguments.plugin = words[++i];
    } else if (i + 1 < count && word == "--library") {
      arguments.library = words[++i];
    } else if (i + 1 < count && word == "--symbol") {
      arguments.symbols.emplace_back(words[++i]);
    } else {
      ::_exit(2);
    }
  }
  return arguments;
}

}  // namespace

int main(int count, char** words) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  const Arguments arguments = read_arguments(count, words);

  std::string path;
  if (!arguments.library.empty()) {
    void* library = load(arguments.library);
    link_map* map = nullptr;
    const bool known = ::dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr;
    path = known ? map->l_name : arguments.library;
    tell("path", path);
    for (const std::string& symbol : arguments.symbols) check_symbol(library, symbol.c_str());
  }
  if (!arguments.plugin.empty()) {
    const servoir_backend* table = load_plugin(arguments.plugin);
    describe(table);
    const bool has_library = table->library_patterns != nullptr && *table->library_patterns != nullptr;
    if (has_library == !path.empty()) start(table, path, arguments.devices);
  }
  end();
}
