#include "base/cores.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace servoir {
namespace {

// A tree of files under a folder of its own.
class Tree {
 public:
  Tree() {
    std::string name = (std::filesystem::temp_directory_path() / "servoir-cores-XXXXXX").string();
    root_ = mkdtemp(name.data());
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() { std::filesystem::remove_all(root_); }

  Tree& file(const std::string& path, const std::string& text) {
    const std::filesystem::path full = root_ + path;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
    return *this;
  }
  [[nodiscard]] double quota() const { return cpu_quota(root_); }

 private:
  std::string root_;
};

TEST(CpuQuota, NoFilesMeanNoQuota) { EXPECT_EQ(Tree().quota(), 0); }

TEST(CpuQuota, Version2OfTheGroupItself) {
  EXPECT_DOUBLE_EQ(
      Tree().file("/proc/self/cgroup", "0::/app\n").file("/sys/fs/cgroup/app/cpu.max", "250000 100000\n").quota(), 2.5);
}

TEST(CpuQuota, Version2TheSmallestOfTheAncestorsWins) {
  Tree tree;
  tree.file("/proc/self/cgroup", "0::/a/b/c\n")
      .file("/sys/fs/cgroup/a/cpu.max", "150000 100000\n")
      .file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
      .file("/sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
  EXPECT_DOUBLE_EQ(tree.quota(), 1.5);
}

TEST(CpuQuota, Version2MaxIsNoQuota) {
  EXPECT_EQ(Tree().file("/proc/self/cgroup", "0::/\n").file("/sys/fs/cgroup/cpu.max", "max 100000\n").quota(), 0);
}

TEST(CpuQuota, Version2AtTheMountPointOfAContainerThatSeesTheHostsPath) {
  EXPECT_DOUBLE_EQ(
      Tree().file("/proc/self/cgroup", "0::/host/x/y\n").file("/sys/fs/cgroup/cpu.max", "50000 100000\n").quota(), 0.5);
}

TEST(CpuQuota, PathOutsideOfTheNamespaceReadsTheMountPoint) {
  Tree tree;
  tree.file("/proc/self/cgroup", "0::/../../x\n")
      .file("/sys/fs/cgroup/cpu.max", "100000 100000\n")
      .file("/sys/x/cpu.max", "10000 100000\n");
  EXPECT_DOUBLE_EQ(tree.quota(), 1);
}

TEST(CpuQuota, Version1WithTheControllersMountedTogether) {
  Tree tree;
  tree.file("/proc/self/cgroup", "5:cpuset:/\n4:cpu,cpuacct:/docker/id\n1:name=systemd:/\n")
      .file("/sys/fs/cgroup/cpu,cpuacct/docker/id/cpu.cfs_quota_us", "300000\n")
      .file("/sys/fs/cgroup/cpu,cpuacct/docker/id/cpu.cfs_period_us", "100000\n")
      .file("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n")
      .file("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(tree.quota(), 3);
}

TEST(CpuQuota, Version1UnderItsOwnNameAtTheMountPoint) {
  Tree tree;
  tree.file("/proc/self/cgroup", "4:cpuacct,cpu:/docker/id\n")
      .file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "20000\n")
      .file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
  EXPECT_DOUBLE_EQ(tree.quota(), 0.4);
}

TEST(CpuQuota, BothVersionsTheSmallerWins) {
  Tree tree;
  tree.file("/proc/self/cgroup", "4:cpu:/\n0::/\n")
      .file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n")
      .file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
      .file("/sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_DOUBLE_EQ(tree.quota(), 3);
}

TEST(CpuQuota, NonsenseIsNoQuota) {
  for (const char* text : {"", "\n", "x y\n", "100000\n", "100000 0\n", "0 100000\n", "-5 100000\n", "1e5 100000\n",
                           "99999999999999999999999 100000\n"}) {
    EXPECT_EQ(Tree().file("/proc/self/cgroup", "0::/\n").file("/sys/fs/cgroup/cpu.max", text).quota(), 0) << text;
  }
  for (const char* groups : {"", "\n", "::\n", "0\n", "0:\n", "0::\n", "nonsense", ":cpu"}) {
    EXPECT_EQ(Tree().file("/proc/self/cgroup", groups).quota(), 0) << groups;
  }
}

TEST(UsableCores, FollowsTheAffinityOfTheThread) {
  const double before = usable_cores();
  EXPECT_GT(before, 0);
  EXPECT_LE(before, static_cast<double>(std::thread::hardware_concurrency()));
  double narrowed = 0;
  std::thread([&] {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(static_cast<unsigned>(sched_getcpu()), &mask);
    ASSERT_EQ(sched_setaffinity(0, sizeof(mask), &mask), 0);
    narrowed = usable_cores();
  }).join();
  EXPECT_LE(narrowed, 1);
  EXPECT_GT(narrowed, 0);
}

}  // namespace
}  // namespace servoir
