#pragma once
// The control groups that this process is in, whose limits hold for it.

#include <filesystem>
#include <string_view>
#include <vector>

namespace wan {

/// A group's folder in the file system of control groups.
struct ControlGroup {
  std::filesystem::path folder;
  int version = 2;  // which names the files in it have
};

/// The groups of `controller` ("memory", "cpu") that hold this process, each followed by those above it, as far as they are
/// mounted here: a container sees its own alone. Of version 1 and 2, of which a machine may have both; what a group's files do
/// not say has no limit. `root` stands for "/", for tests.
std::vector<ControlGroup> control_groups(std::string_view controller,
                                         const std::filesystem::path& root = "/");

/// Processors' worth of time that the groups grant this process, or 0 where there is no limit.
double processor_quota(const std::filesystem::path& root = "/");

}  // namespace wan
