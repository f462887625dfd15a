#pragma once
// The published models by their tasks' names, and which files of their repositories this program reads.

#include <string>
#include <string_view>
#include <vector>

namespace wan {

struct PublishedFiles {
  std::string_view name;                   // "t2v-A14B"
  std::string_view repository;             // on Hugging Face and on ModelScope
  std::vector<std::string_view> patterns;  // as DownloadOptions::files
};

const std::vector<PublishedFiles>& published_files();

/// By a task's name or the repository's; nullptr for none.
const PublishedFiles* find_published(std::string_view name);

}  // namespace wan
