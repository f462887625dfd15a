#include "base/shell_quote.h"

#include <algorithm>
#include <string_view>

namespace wan {

std::string shell_quoted(const std::filesystem::path& path) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
  std::string word = path.string();
  if (word.starts_with('-')) word.insert(0, "./");
  const bool plain =
      std::all_of(word.begin(), word.end(), [&](char c) { return kPlain.find(c) != std::string_view::npos; });
  if (plain && !word.empty()) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

}  // namespace wan
