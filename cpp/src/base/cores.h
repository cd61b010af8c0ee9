// How many cores this process may really use.
//
// The number of processors that it may run on (sched_getaffinity), cut by the CPU quota of its control group and of
// all groups above it (cgroup v1 and v2). A quota may be a fraction: two and a half cores are 2.5. Any thread may call;
// these functions read files, so they are not for the data path.
#pragma once

#include <string>

namespace servoir {

// More than 0.
[[nodiscard]] double usable_cores();

// The quota alone, in cores; 0 where there is none. `root` stands before "/proc/self/cgroup" and "/sys/fs/cgroup", so
// that tests can give a tree of their own; empty for the real tree. What cannot be read or understood counts as no
// quota.
[[nodiscard]] double cpu_quota(const std::string& root);

}  // namespace servoir
