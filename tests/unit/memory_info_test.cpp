// What is left of a process's memory and processors, read from trees of files as Linux shows them.

#include "base/memory_info.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/cgroup.h"
#include "support/temp_folder.h"

namespace wan {
namespace {

constexpr std::int64_t kMb = 1'000'000;
constexpr const char* kVersion2 =
    "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kMemory1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";

/// A machine with 8 GB available of which a process in some control group may take a part.
class FakeMachine : public testing::Test {
 protected:
  FakeMachine() {
    write("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total: 0\n");
    write("proc/self/status", "Name:\twan\nVmPeak:\t 900 kB\nVmSize:\t  200000 kB\nVmData:\t  50000 kB\n");
  }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }
  /// memory.max and memory.current of a group of version 2.
  void group(const std::string& path, const std::string& most, std::int64_t used) const {
    write(path + "/memory.max", most + "\n");
    write(path + "/memory.current", std::to_string(used) + "\n");
  }
  std::int64_t available(const ProcessLimits& limits = {}) const {
    return available_memory_bytes(folder_.path(), limits);
  }
  double processors() const { return processor_quota(folder_.path()); }

  test::TempFolder folder_;
};

constexpr std::int64_t kWhole = 8'000'000LL * 1024;

TEST_F(FakeMachine, WithoutLimitsHasWhatTheMachineHas) {
  EXPECT_EQ(available(), kWhole);
  EXPECT_EQ(machine_memory_bytes(folder_.path()), 2 * kWhole);
  EXPECT_EQ(processors(), 0.0);
  write("proc/self/mountinfo", kVersion2);
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/cgroup.procs", "1\n");  // the root group has no limits
  EXPECT_EQ(available(), kWhole);
  EXPECT_EQ(processors(), 0.0);
}

TEST_F(FakeMachine, EveryGroupAboveANestedOneCounts) {
  write("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + std::string(kVersion2));
  write("proc/self/cgroup", "0::/user.slice/job/inner\n");
  group("sys/fs/cgroup/user.slice/job/inner", "max", 30 * kMb);
  group("sys/fs/cgroup/user.slice/job", "60000000", 20 * kMb);
  group("sys/fs/cgroup/user.slice/other", "1000", 0);
  EXPECT_EQ(available(), 40 * kMb);
  group("sys/fs/cgroup/user.slice", "50000000", 45 * kMb);  // its neighbours' use counts too
  EXPECT_EQ(available(), 5 * kMb);
  group("sys/fs/cgroup/user.slice/job/inner", "20000000", 30 * kMb);
  EXPECT_EQ(available(), 0);
}

TEST_F(FakeMachine, AGroupThatIsSlowedDownIsLimitedBeforeItsMaximum) {
  write("proc/self/mountinfo", kVersion2);
  write("proc/self/cgroup", "0::/job\n");
  group("sys/fs/cgroup/job", "60000000", 20 * kMb);
  write("sys/fs/cgroup/job/memory.high", "50000000\n");
  EXPECT_EQ(available(), 30 * kMb);
  write("sys/fs/cgroup/job/memory.high", "max\n");
  EXPECT_EQ(available(), 40 * kMb);
}

TEST_F(FakeMachine, PageCacheOfAGroupCanBeTaken) {
  write("proc/self/mountinfo", kVersion2);
  write("proc/self/cgroup", "0::/job\n");
  group("sys/fs/cgroup/job", "60000000", 58 * kMb);
  write("sys/fs/cgroup/job/memory.stat",
        "anon 10000000\nfile 48000000\ninactive_file 20000000\nactive_file 28000000\n");
  EXPECT_EQ(available(), 50 * kMb);
}

TEST_F(FakeMachine, VersionOneHasNamesOfItsOwn) {
  write("proc/self/mountinfo", kMemory1);
  write("proc/self/cgroup", "5:cpuset:/elsewhere\n4:memory:/process_api/1234\n0::/\n");
  const std::string own = "sys/fs/cgroup/memory/process_api/1234/";
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000000\n");
  write(own + "memory.limit_in_bytes", "60000000\n");
  write(own + "memory.usage_in_bytes", "50000000\n");
  write(own + "memory.stat", "inactive_file 0\ntotal_inactive_file 10000000\ntotal_active_file 5000000\n");
  EXPECT_EQ(available(), 25 * kMb);
}

TEST_F(FakeMachine, MixedVersionsAreBothRead) {
  write("proc/self/mountinfo",
        std::string(kMemory1) + "42 32 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  write("proc/self/cgroup", "4:memory:/job\n1:name=systemd:/x\n0::/service\n");
  write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "60000000\n");
  EXPECT_EQ(available(), 60 * kMb);
  group("sys/fs/cgroup/unified/service", "50000000", 10 * kMb);
  EXPECT_EQ(available(), 40 * kMb);
}

// Without a namespace of its own a container sees its group at the mount, under a name that begins with its own.
TEST_F(FakeMachine, AContainersGroupIsTheMountedOne) {
  write("proc/self/mountinfo",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro master:9 - cgroup cgroup rw,memory\n");
  write("proc/self/cgroup", "4:memory:/docker/abc\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "60000000\n");
  EXPECT_EQ(available(), 60 * kMb);
  write("proc/self/cgroup", "4:memory:/docker/abc/inner\n");
  write("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "50000000\n");
  EXPECT_EQ(available(), 50 * kMb);
  write("proc/self/cgroup", "4:memory:/docker/abcd\n");  // a neighbour, which is not mounted
  EXPECT_EQ(available(), kWhole);
}

TEST_F(FakeMachine, GroupsOutsideTheNamespaceCountWhereTheyHoldThisOne) {
  group("sys/fs/cgroup", "60000000", 0);
  write("proc/self/mountinfo", "31 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(available(), 60 * kMb);
  write("proc/self/mountinfo", "31 23 0:26 /../other /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(available(), kWhole);
  write("proc/self/mountinfo", kVersion2);
  write("proc/self/cgroup", "0::/../other\n");
  EXPECT_EQ(available(), kWhole);
}

TEST_F(FakeMachine, AMountMayHaveASpaceInItsName) {
  write("proc/self/mountinfo", "31 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n");
  write("proc/self/cgroup", "0::/a\n");
  group("my groups/a", "60000000", 0);
  EXPECT_EQ(available(), 60 * kMb);
}

TEST_F(FakeMachine, LinesThatAreNotUnderstoodLimitNothing) {
  write("proc/self/mountinfo",
        "\n - \n1 2 3\n31 23 0:26 x y - cgroup2\n31 23 0:26 \\04 \\ rw - cgroup2 a b\n");
  write("proc/self/cgroup", "\n:\n0::\n0::x\n::::\nmemory\n");
  EXPECT_EQ(available(), kWhole);
  EXPECT_EQ(processors(), 0.0);
}

TEST_F(FakeMachine, ResourceLimitsCountWhatTheProcessHas) {
  EXPECT_EQ(available({.address_space = 300'000LL * 1024}), 100'000LL * 1024);
  EXPECT_EQ(available({.data = 70'000LL * 1024}), 20'000LL * 1024);
  EXPECT_EQ(available({.address_space = 300'000LL * 1024, .data = 60'000LL * 1024}), 10'000LL * 1024);
  EXPECT_EQ(available({.address_space = 1}), 0);
}

TEST_F(FakeMachine, MemoryThatIsNeverPromisedTwiceIsLimitedByThePromises) {
  write("proc/meminfo", "MemAvailable: 8000000 kB\nCommitLimit: 5000000 kB\nCommitted_AS: 1000000 kB\n");
  write("proc/sys/vm/overcommit_memory", "0\n");
  EXPECT_EQ(available(), kWhole);
  write("proc/sys/vm/overcommit_memory", "2\n");
  EXPECT_EQ(available(), 4'000'000LL * 1024);
}

TEST_F(FakeMachine, ProcessorsAreTheSmallestQuotaOfAllGroups) {
  write("proc/self/mountinfo", std::string(kVersion2) +
                                   "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
                                   "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n");
  write("proc/self/cgroup", "3:cpuset:/job\n2:cpu,cpuacct:/old\n0::/a/b\n");
  write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  for (const std::string other : {"cpuset/job", "cpuset/old"}) {  // another controller's
    write("sys/fs/cgroup/" + other + "/cpu.cfs_quota_us", "100000\n");
    write("sys/fs/cgroup/" + other + "/cpu.cfs_period_us", "100000\n");
  }
  EXPECT_EQ(processors(), 0.0);
  write("sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  EXPECT_EQ(processors(), 2.5);
  write("sys/fs/cgroup/cpu/old/cpu.cfs_quota_us", "150000\n");
  write("sys/fs/cgroup/cpu/old/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(processors(), 1.5);
  write("sys/fs/cgroup/cpu/old/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(processors(), 2.5);
}

TEST(MemoryInfoTest, IsPlausible) {
  EXPECT_GT(peak_resident_bytes(), 1 << 20);
  EXPECT_GT(available_memory_bytes(), 1 << 20);
  EXPECT_GT(program_bytes(), 1 << 18);
  EXPECT_EQ(program_bytes(), program_bytes());
  const std::int64_t before = private_bytes();
  EXPECT_GT(before, 0);
  const std::vector<char> more(64 << 20, 1);
  EXPECT_NEAR(static_cast<double>(private_bytes() - before), static_cast<double>(more.size()), 1.6e7);
}

}  // namespace
}  // namespace wan
