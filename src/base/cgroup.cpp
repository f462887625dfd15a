#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace wan {

namespace fs = std::filesystem;

namespace {

/// Where a hierarchy of groups is mounted.
struct Mount {
  fs::path group;  // the group that is seen at `folder`, as /proc/self/cgroup names groups
  fs::path folder;
  int version;
};

bool names(std::string_view list, std::string_view name) {
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    if (list.substr(begin, end - begin) == name) return true;
    begin = end + 1;
  }
  return false;
}

/// mountinfo writes spaces and the like as \040.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto is_octal = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(i + 1) && is_octal(i + 2) && is_octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

/// A line "31 23 0:28 GROUP FOLDER rw,relatime shared:1 - cgroup SOURCE rw,memory"; none where it is no such mount.
std::optional<Mount> parse_mount(const std::string& line, std::string_view controller, const fs::path& root) {
  std::istringstream words(line);
  std::string id, parent, device, group, folder, word, type, source, options;
  words >> id >> parent >> device >> group >> folder;
  while (words >> word && word != "-") {
  }
  if (!(words >> type >> source >> options)) return std::nullopt;
  if (type != "cgroup2" && !(type == "cgroup" && names(options, controller))) return std::nullopt;
  return Mount{.group = unescaped(group),
               .folder = root / fs::path(unescaped(folder)).relative_path(),
               .version = type == "cgroup2" ? 2 : 1};
}

std::vector<Mount> mounts_of(std::string_view controller, const fs::path& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);)
    if (auto mount = parse_mount(line, controller, root)) mounts.push_back(std::move(*mount));
  return mounts;
}

/// This process's group: lines "0::/path" (version 2) and "4:cpu,cpuacct:/path" (1).
std::optional<fs::path> own_group(std::string_view controller, int version, const fs::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (version == 2 ? controllers.empty() : names(controllers, controller)) return line.substr(second + 1);
  }
  return std::nullopt;
}

/// The way from the mounted group down to this process's own, or none where that is not below the mounted one. A mounted
/// group of dots alone ("/../..") lies above the root of this process's namespace by an unknown way: it holds the
/// process, and the groups between are not known.
std::optional<fs::path> below(const fs::path& mounted, const fs::path& own) {
  const auto is_up = [](const fs::path& part) { return part == ".."; };
  auto [in_mounted, in_own] = std::mismatch(mounted.begin(), mounted.end(), own.begin(), own.end());
  fs::path way;
  if (in_mounted == mounted.end()) {
    for (; in_own != own.end(); ++in_own) way /= *in_own;
    return way.empty() || !is_up(*way.begin()) ? std::optional(way) : std::nullopt;
  }
  return std::all_of(in_mounted, mounted.end(), is_up) ? std::optional(way) : std::nullopt;
}

double quota_of(const ControlGroup& group) {
  double quota = 0.0;
  double period = 0.0;
  if (group.version == 2) {
    std::ifstream file(group.folder / "cpu.max");  // "quota period" or "max period"
    file >> quota >> period;
  } else {
    std::ifstream(group.folder / "cpu.cfs_quota_us") >> quota;  // -1: no limit
    std::ifstream(group.folder / "cpu.cfs_period_us") >> period;
  }
  return quota > 0.0 && period > 0.0 ? quota / period : 0.0;
}

}  // namespace

std::vector<ControlGroup> control_groups(std::string_view controller, const fs::path& root) {
  std::vector<ControlGroup> groups;
  for (const Mount& mount : mounts_of(controller, root)) {
    const auto own = own_group(controller, mount.version, root);
    auto way = own ? below(mount.group, *own) : std::nullopt;
    if (!way) continue;
    for (; !way->empty(); *way = way->parent_path()) groups.push_back({mount.folder / *way, mount.version});
    groups.push_back({mount.folder, mount.version});
  }
  return groups;
}

double processor_quota(const fs::path& root) {
  double smallest = 0.0;
  for (const ControlGroup& group : control_groups("cpu", root)) {
    const double quota = quota_of(group);
    if (quota > 0.0 && (smallest == 0.0 || quota < smallest)) smallest = quota;
  }
  return smallest;
}

}  // namespace wan
