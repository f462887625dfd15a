#include "base/shell_quote.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/untrusted_text.h"

namespace wan {

std::string shell_quoted(const std::filesystem::path& path) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
  std::string word = path.string();
  if (word.starts_with('-')) word.insert(0, "./");
  const bool plain =
      std::all_of(word.begin(), word.end(), [&](char c) { return kPlain.find(c) != std::string_view::npos; });
  if (plain && !word.empty()) return word;
  if (shown(word) != word) {
    std::string escaped = "$'";
    for (const char c : word) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte >= 0x7f || c == '\'' || c == '\\')
        escaped += fmt::format("\\{:03o}", byte);
      else
        escaped += c;
    }
    return escaped + "'";
  }
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

}  // namespace wan
