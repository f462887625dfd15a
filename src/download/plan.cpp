// Which files of a repository are wanted, and which of them are there.

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "download/file_transfer.h"
#include "download/hub.h"
#include "download/published_models.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// A repository may have some thousand files; a listing without an end is refused before it fills the memory.
constexpr std::size_t kMostFiles = 100'000;

std::string repository_named(const std::string& name) {
  if (const PublishedFiles* const published = find_published(name)) return std::string(published->repository);
  std::string names;
  for (const PublishedFiles& model : published_files()) names += fmt::format("{}, ", model.name);
  WAN_CHECK(is_repository_name(name), kInvalidArgument, "{}: expected {}or a repository such as ORG/REPO",
            name, names);
  return name;
}

/// Whether `pattern` names the file, a folder that it is in, or either by wildcards.
bool is_named(const std::string& path, std::string pattern) {
  while (pattern.ends_with('/')) pattern.pop_back();
  return path == pattern || path.starts_with(pattern + "/") ||
         ::fnmatch(pattern.c_str(), path.c_str(), 0) == 0;
}

/// Bytes of what `path` is; -1 where it is no regular file.
std::int64_t size_of(const fs::path& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) ? info.st_size : -1;
}

/// Fills in the plan's files. Throws BadFile for paths that leave the folder or meet there.
/// A sum becomes a part of a name on disk, and sizes are added up.
void check_facts(const DownloadFile& file) {
  const auto is_sum = [](const std::string& sum, std::size_t digits) {
    return sum.empty() ||
           (sum.size() == digits && sum.find_first_not_of("0123456789abcdef") == std::string::npos);
  };
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 45;
  WAN_CHECK(is_sum(file.sha256, 64) && is_sum(file.git_sha1, 40), kBadFile,
            "the repository gives {} a sum that is none; do not trust it", file.path);
  WAN_CHECK(file.size >= 0 && file.size <= kMostBytes, kBadFile,
            "the repository gives {} {} bytes; do not trust it", file.path, file.size);
}

void choose(DownloadPlan& plan, std::vector<DownloadFile> listed, const std::vector<std::string>& patterns) {
  WAN_CHECK(listed.size() <= kMostFiles, kBadFile, "{} has more than {} files; name a smaller repository",
            plan.repository, kMostFiles);
  std::ranges::sort(listed, {}, &DownloadFile::path);
  std::set<std::string> used;  // patterns
  for (std::size_t i = 0; i < listed.size(); ++i) {
    DownloadFile& file = listed[i];
    check_hub_path(file.path);
    check_facts(file);
    WAN_CHECK(i == 0 || listed[i - 1].path != file.path, kBadFile,
              "the repository names {} twice; do not trust it", file.path);
    bool wanted = patterns.empty();
    for (const std::string& pattern : patterns)
      if (is_named(file.path, pattern)) {
        used.insert(pattern);
        wanted = true;
      }
    if (wanted)
      plan.files.push_back(std::move(file));
    else
      plan.others.push_back(file.path);
  }
  for (const std::string& pattern : patterns)
    WAN_CHECK_FIELD(used.contains(pattern), kInvalidArgument, "files",
                    "{} has no file {}; ask for a list of its files", plan.repository, pattern);
  WAN_CHECK(!plan.files.empty(), kInvalidArgument, "{} has no files", plan.repository);
}

}  // namespace

std::int64_t DownloadPlan::bytes() const {
  std::int64_t sum = 0;
  for (const DownloadFile& file : files) sum += file.size;
  return sum;
}

std::int64_t DownloadPlan::missing_bytes() const {
  std::int64_t sum = 0;
  for (const DownloadFile& file : files)
    if (!file.there) sum += file.size - file.part;
  return sum;
}

DownloadPlan plan_download(const DownloadOptions& options, const std::atomic<bool>* cancelled) {
  DownloadPlan plan{.repository = repository_named(options.name), .commit = {}, .folder = {}, .files = {}};
  plan.folder = options.local_dir.empty() ? model_folder(plan.repository) : options.local_dir;
  const std::unique_ptr<Hub> hub = find_hub(options.source);
  Connection connection{
      .credentials = hub->credentials(), .timeout = options.timeout, .cancelled = cancelled};
  HubListing listing = hub->list(connection, plan.repository, options.revision);
  plan.commit = std::move(listing.commit);

  std::vector<std::string> patterns = options.files;
  const PublishedFiles* const published = find_published(options.name);
  if (patterns.empty() && published != nullptr)
    patterns.assign(published->patterns.begin(), published->patterns.end());
  choose(plan, std::move(listing.files), patterns);
  for (DownloadFile& file : plan.files) {
    file.there = size_of(plan.folder / file.path) == file.size;
    const std::int64_t part = size_of(partial_path(plan.folder, file));
    if (!file.there && part > 0 && part <= file.size) file.part = part;
  }
  return plan;
}

}  // namespace wan
