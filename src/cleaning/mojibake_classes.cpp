#include "cleaning/mojibake_classes.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "text/unicode.h"

namespace wan {
namespace {

struct ClassRange {
  char16_t first;
  char16_t last;
  CharClassMask classes;
};

#include "cleaning/tables/mojibake_classes.inc"

using PointClasses = std::pair<char32_t, CharClassMask>;

// One entry for each of the several hundred characters that the table names, sorted.
const std::vector<PointClasses>& table() {
  static const auto points = [] {
    std::vector<PointClasses> all;
    for (const ClassRange& range : kMojibakeClasses)
      for (char32_t point = range.first; point <= range.last; ++point) all.emplace_back(point, range.classes);
    std::sort(all.begin(), all.end());
    std::vector<PointClasses> merged;
    for (const auto& [point, classes] : all) {
      if (merged.empty() || merged.back().first != point) merged.emplace_back(point, 0);
      merged.back().second |= classes;
    }
    return merged;
  }();
  return points;
}

}  // namespace

CharClassMask char_classes(char32_t point) {
  CharClassMask mask = 0;
  const auto& points = table();
  const auto found = std::lower_bound(points.begin(), points.end(), PointClasses(point, 0));
  if (found != points.end() && found->first == point) mask = found->second;
  const bool lower = point >= U'a' && point <= U'z';
  const bool letter = lower || (point >= U'A' && point <= U'Z');
  if (lower) mask |= CharClass::kAsciiLower;
  mask |= letter ? CharClass::kAsciiLetter : CharClass::kNotAsciiLetter;
  if (is_python_space(point)) mask |= CharClass::kSpace;
  if (is_python_word(point)) mask |= CharClass::kWord;
  if (point != U'\n') mask |= CharClass::kNotNewline;
  return mask;
}

}  // namespace wan
