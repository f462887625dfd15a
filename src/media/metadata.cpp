#include "media/metadata.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "json/json_text.h"

namespace wan {

void check_metadata(const Metadata& metadata) {
  std::set<std::string_view> seen;
  for (const auto& [key, value] : metadata) {
    const bool printable = std::ranges::all_of(key, [](char c) { return c >= 0x20 && c <= 0x7e; });
    WAN_CHECK(!key.empty() && key.size() <= 79 && printable && key.front() != ' ' && key.back() != ' ',
              kInvalidArgument, "[metadata] expected a key of 1 to 79 printable ASCII characters, got \"{}\"",
              key);
    WAN_CHECK(seen.insert(key).second, kInvalidArgument, "[metadata] expected each key once, got {} twice",
              key);
  }
}

std::string metadata_json(const Metadata& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata) json[key] = value;
  return json_text(json);
}

std::string title_of(std::string_view prompt) {
  constexpr int kMaxCodePoints = 80;
  constexpr int kMinCodePoints = 50;  // a cut at a space never leaves less than this
  std::string title;
  std::size_t cut = 0;  // where the last word ended that is not too short
  int code_points = 0;
  bool space = false;
  for (const char c : prompt) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      space = !title.empty();
      continue;
    }
    const bool starts_code_point = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (space && code_points >= kMinCodePoints) cut = title.size();
    const int added = (space ? 1 : 0) + (starts_code_point ? 1 : 0);
    if (code_points + added > kMaxCodePoints) {
      if (cut != 0) title.resize(cut);
      return title + "…";
    }
    if (space) title += ' ';
    space = false;
    title += c;
    code_points += added;
  }
  return title;
}

std::string_view metadata_value(const Metadata& metadata, std::string_view key) {
  const auto found =
      std::ranges::find(metadata, key, [](const auto& pair) { return std::string_view(pair.first); });
  return found == metadata.end() ? std::string_view() : std::string_view(found->second);
}

Metadata with_title_and_comment(const Metadata& metadata, const std::string& title_key,
                                const std::string& comment_key) {
  const auto has = [&](const std::string& key) {
    return std::ranges::any_of(metadata, [&](const auto& pair) { return pair.first == key; });
  };
  Metadata result;
  const std::string title = title_of(metadata_value(metadata, "prompt"));
  if (!title.empty() && !has(title_key)) result.emplace_back(title_key, title);
  if (!metadata.empty() && !has(comment_key)) result.emplace_back(comment_key, metadata_json(metadata));
  result.insert(result.end(), metadata.begin(), metadata.end());
  return result;
}

}  // namespace wan
