#include "base/cores.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace servoir {
namespace {

std::optional<std::string> read_file(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  std::string text;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

// Cuts the part up to the separator off the front of `rest`.
std::string_view next_part(std::string_view* rest, char separator) {
  const std::size_t end = rest->find(separator);
  const std::string_view part = rest->substr(0, end);
  *rest = end == std::string_view::npos ? std::string_view() : rest->substr(end + 1);
  return part;
}

std::optional<std::int64_t> number(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Cores for a quota in a period; 0 for none.
double cores_of(std::optional<std::int64_t> quota, std::optional<std::int64_t> period) {
  if (!quota.has_value() || !period.has_value() || *quota <= 0 || *period <= 0) return 0;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

double quota_v2(const std::string& folder) {  // cpu.max: "QUOTA PERIOD" or "max PERIOD"
  const std::optional<std::string> text = read_file(folder + "/cpu.max");
  if (!text.has_value()) return 0;
  std::string_view rest(*text);
  const std::string_view quota = next_part(&rest, ' ');
  return cores_of(number(quota), number(rest));
}

double quota_v1(const std::string& folder) {  // a quota of -1 is none
  const std::optional<std::string> quota = read_file(folder + "/cpu.cfs_quota_us");
  const std::optional<std::string> period = read_file(folder + "/cpu.cfs_period_us");
  if (!quota.has_value() || !period.has_value()) return 0;
  return cores_of(number(*quota), number(*period));
}

double smaller(double a, double b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

// The smallest quota of the group and those above it. Inside a container the path may be that of the host, of which
// only the group at the mount point can be seen: folders that are not there are passed over.
double smallest_quota(const std::string& mount, std::string_view group, double (*quota_in)(const std::string&)) {
  if (group.find("/..") != std::string_view::npos) group = "/";  // outside of our namespace
  double quota = 0;
  std::string path(group);
  while (true) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    quota = smaller(quota, quota_in(mount + path));
    if (path.empty()) return quota;
    path.erase(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
  }
}

bool names(std::string_view controllers, std::string_view wanted) {
  while (!controllers.empty()) {
    if (next_part(&controllers, ',') == wanted) return true;
  }
  return false;
}

double allowed_processors() {
  // The kernel's mask may be wider than cpu_set_t; EINVAL asks for a larger one.
  for (int processors = CPU_SETSIZE; processors <= 1 << 20; processors *= 2) {
    std::vector<std::uint64_t> mask(static_cast<std::size_t>(processors) / 64);
    const std::size_t bytes = mask.size() * sizeof(std::uint64_t);
    if (sched_getaffinity(0, bytes, reinterpret_cast<cpu_set_t*>(mask.data())) == 0) {
      const int count = CPU_COUNT_S(bytes, reinterpret_cast<cpu_set_t*>(mask.data()));
      if (count > 0) return count;
    } else if (errno == EINVAL) {
      continue;
    }
    break;
  }
  return static_cast<double>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

double cpu_quota(const std::string& root) {
  const std::optional<std::string> groups = read_file(root + "/proc/self/cgroup");
  if (!groups.has_value()) return 0;
  const std::string mount = root + "/sys/fs/cgroup";
  double quota = 0;
  std::string_view rest(*groups);
  while (!rest.empty()) {  // each line: "NUMBER:CONTROLLER,CONTROLLER:PATH"; v2 has the number 0 and no controllers
    std::string_view line = next_part(&rest, '\n');
    const std::string_view hierarchy = next_part(&line, ':');
    const std::string_view controllers = next_part(&line, ':');
    if (controllers.empty() && hierarchy == "0") {
      quota = smaller(quota, smallest_quota(mount, line, quota_v2));
    } else if (names(controllers, "cpu")) {
      // The hierarchy is mounted under the names of all its controllers, or under its own.
      for (const std::string& folder : {mount + "/" + std::string(controllers), mount + "/cpu"}) {
        const double found = smallest_quota(folder, line, quota_v1);
        quota = smaller(quota, found);
        if (found > 0) break;
      }
    }
  }
  return quota;
}

double usable_cores() {
  const double processors = allowed_processors();
  const double quota = cpu_quota("");
  return quota > 0 ? std::min(processors, quota) : processors;
}

}  // namespace servoir
