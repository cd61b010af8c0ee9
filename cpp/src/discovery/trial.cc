#include "discovery/trial.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "base/text.h"
#include "base/unique_fd.h"

namespace servoir {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostReport = 1 << 20;  // so that a library that writes to descriptor 3 cannot fill the memory
constexpr std::size_t kMostSaid = 2048;
// Pipes get numbers from here on. Standard descriptors may be closed in this process, so a pipe could otherwise get a
// number that has a meaning in the child.
constexpr int kFirstFreeFd = 10;
// The end of the process usually shows by the end of its pipes. Where a descendant holds these open, it is looked for
// as often as this.
constexpr std::chrono::milliseconds kLook{20};

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

// 0, or errno.
int open_pipe(Pipe* made) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return errno;
  const UniqueFd read(fds[0]);
  const UniqueFd write(fds[1]);
  made->read.reset(::fcntl(read.get(), F_DUPFD_CLOEXEC, kFirstFreeFd));
  made->write.reset(::fcntl(write.get(), F_DUPFD_CLOEXEC, kFirstFreeFd));
  if (!made->read.valid() || !made->write.valid()) return errno;
  return ::fcntl(made->read.get(), F_SETFL, O_NONBLOCK) == 0 ? 0 : errno;
}

// posix_spawn's two kinds of settings; freed here.
class SpawnSettings {
 public:
  SpawnSettings(int report, int said) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, said, STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, report, kTrialReportFd);
    ::posix_spawnattr_init(&attributes_);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes_, &signals);
    ::sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes_, &signals);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSettings() {
    ::posix_spawnattr_destroy(&attributes_);
    ::posix_spawn_file_actions_destroy(&actions_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  // 0, or errno.
  int spawn(const std::vector<std::string>& command, pid_t* pid) const {
    std::vector<std::string> words = command;
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    return ::posix_spawn(pid, arguments[0], &actions_, &attributes_, arguments.data(), environ);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

class RunningTrial {
 public:
  RunningTrial(pid_t pid, UniqueFd report, UniqueFd said)
      : pid_(pid), report_(std::move(report)), said_(std::move(said)) {}

  TrialOutcome watch(std::chrono::milliseconds limit) && {
    outcome_.limit = limit;
    const Clock::time_point end = Clock::now() + limit;
    bool ended = false;
    int status = 0;
    while (true) {
      const bool open = take_what_is_there();
      if (is_whole_trial_report(text_)) {
        outcome_.ending = TrialOutcome::Ending::kFinished;
        break;
      }
      if (ended) {
        read_status(status);
        break;
      }
      ended = has_ended(&status);
      if (ended) continue;  // what it wrote at last
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
      if (left.count() <= 0) {
        outcome_.ending = TrialOutcome::Ending::kTimedOut;
        break;
      }
      wait_for_news(std::min(left, open ? kLook : std::chrono::milliseconds(1)));
    }
    // The whole process group is killed: the child may have started others.
    ::kill(-pid_, SIGKILL);
    if (!ended) {
      while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
    outcome_.records = read_trial_report(text_);
    return std::move(outcome_);
  }

 private:
  // False: both pipes are closed at their other ends.
  bool take_what_is_there() {
    const bool reports = drain(&report_, &text_, kMostReport);
    const bool says = drain(&said_, &outcome_.said, 0);
    outcome_.said.erase(0, outcome_.said.size() - cut_utf8_front(outcome_.said, kMostSaid).size());
    return reports || says;
  }

  // `most` 0: no limit. Closes the pipe at its end.
  static bool drain(UniqueFd* fd, std::string* text, std::size_t most) {
    std::array<char, 4096> buffer;
    for (int round = 0; fd->valid() && round < 16; ++round) {  // bounded, because a child may never stop printing
      const ssize_t got = ::read(fd->get(), buffer.data(), buffer.size());
      if (got > 0) {
        if (most == 0 || text->size() < most) text->append(buffer.data(), static_cast<std::size_t>(got));
      } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        fd->reset();
      } else {
        break;
      }
    }
    return fd->valid();
  }

  void wait_for_news(std::chrono::milliseconds time) const {
    std::array<pollfd, 2> fds{pollfd{report_.get(), POLLIN, 0}, pollfd{said_.get(), POLLIN, 0}};
    (void)::poll(fds.data(), fds.size(), static_cast<int>(time.count()));  // descriptors of -1 are left out
  }

  bool has_ended(int* status) const {
    const pid_t got = ::waitpid(pid_, status, WNOHANG);
    // Where SIGCHLD is ignored the kernel does not tell how a child ended.
    return got == pid_ || (got < 0 && errno == ECHILD);
  }

  void read_status(int status) {
    const bool signalled = WIFSIGNALED(status);
    outcome_.ending = signalled ? TrialOutcome::Ending::kSignalled : TrialOutcome::Ending::kExited;
    outcome_.number = signalled ? WTERMSIG(status) : WEXITSTATUS(status);
  }

  pid_t pid_;
  UniqueFd report_;
  UniqueFd said_;
  std::string text_;
  TrialOutcome outcome_;
};

// The text in one line, without spaces at its ends.
std::string shown(std::string said) {
  std::replace(said.begin(), said.end(), '\n', ' ');
  const std::size_t first = said.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return said.substr(first, said.find_last_not_of(' ') + 1 - first);
}

}  // namespace

std::string TrialOutcome::text_of(const std::string& key) const {
  const auto found =
      std::find_if(records.begin(), records.end(), [&](const auto& record) { return record.first == key; });
  return found != records.end() ? found->second : "";
}

std::vector<std::string> TrialOutcome::all_of(const std::string& key) const {
  std::vector<std::string> texts;
  for (const auto& [name, text] : records) {
    if (name == key) texts.push_back(text);
  }
  return texts;
}

std::string TrialOutcome::failure() const {
  std::string text;
  switch (ending) {
    case Ending::kFinished:
      return "";
    case Ending::kNotStarted:
      return std::string("cannot be tried: ") + std::strerror(number);
    case Ending::kTimedOut:
      text =
          "hangs when it is loaded: it was not done after " + std::to_string(static_cast<double>(limit.count()) / 1000);
      text.erase(text.find_last_not_of('0') + 1);
      if (text.back() == '.') text.pop_back();
      text += " s";
      break;
    case Ending::kExited:
      text = "ends the process when it is loaded (exit status " + std::to_string(number) + ")";
      break;
    case Ending::kSignalled:
      text = number == SIGABRT ? "aborts" : number == SIGKILL ? "is killed" : "crashes";
      text += std::string(" when it is loaded (") + ::strsignal(number) + ")";
      break;
  }
  const std::string words = shown(said);
  return words.empty() ? text : text + "; it said: " + words;
}

TrialOutcome run_trial(const std::vector<std::string>& command, std::chrono::milliseconds limit) {
  TrialOutcome failed;
  failed.limit = limit;
  failed.number = EINVAL;
  if (command.empty()) return failed;
  Pipe report;
  Pipe said;
  failed.number = open_pipe(&report);
  if (failed.number == 0) failed.number = open_pipe(&said);
  if (failed.number != 0) return failed;
  pid_t pid = 0;
  failed.number = SpawnSettings(report.write.get(), said.write.get()).spawn(command, &pid);
  if (failed.number != 0) return failed;
  report.write.reset();
  said.write.reset();
  return RunningTrial(pid, std::move(report.read), std::move(said.read)).watch(limit);
}

}  // namespace servoir
