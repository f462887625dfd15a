#include "cleaning/prompt_cleaning.h"

#include <algorithm>

#include "base/error.h"
#include "cleaning/character_fixes.h"
#include "cleaning/html_entities.h"
#include "cleaning/mojibake.h"
#include "text/unicode.h"

namespace wan {
namespace {

constexpr std::size_t kLongestSegment = 1'000'000;  // characters; ftfy's max_decode_length

enum class Entities { kResolve, kKeep };

// Every step once more until nothing changes, as one step may uncover work for an earlier one. ftfy's fix for
// surrogates has no counterpart here: strict UTF-8 holds none, and no step makes one.
std::u32string fix_segment(std::u32string text, Entities entities) {
  while (true) {
    std::u32string fixed = entities == Entities::kResolve ? unescape_plain_entities(text) : text;
    fixed = fix_encoding(std::move(fixed));
    fixed = split_latin_ligatures(fixed);
    fixed = fix_character_width(fixed);
    uncurl_quotes(fixed);
    fixed = fix_line_breaks(fixed);
    fixed = remove_terminal_escapes(fixed);
    remove_control_characters(fixed);
    fixed = to_nfc(fixed);
    if (fixed == text) return text;
    text = std::move(fixed);
  }
}

std::u32string_view strip(std::u32string_view text, bool (*is_space)(char32_t)) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::u32string collapse_white_space(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  bool after_space = false;
  for (char32_t c : text) {
    const bool space = is_white_space(c);
    if (!space) {
      out.push_back(c);
    } else if (!after_space) {
      out.push_back(U' ');
    }
    after_space = space;
  }
  return out;
}

}  // namespace

std::u32string fix_text(std::u32string_view text) {
  std::u32string out;
  auto entities = Entities::kResolve;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t line_feed = text.find(U'\n', at);
    const std::size_t line_end = line_feed == text.npos ? text.size() : line_feed + 1;
    const std::size_t end = std::min(line_end, at + kLongestSegment);
    const std::u32string_view segment = text.substr(at, end - at);
    // A literal '<' means real HTML, whose references are to stay: from this line to the last.
    if (segment.find(U'<') != segment.npos) entities = Entities::kKeep;
    out += fix_segment(std::u32string(segment), entities);
    at = end;
  }
  return out;
}

std::string clean_prompt(std::string_view utf8) {
  const auto text = utf8_to_u32(utf8);
  WAN_CHECK(text.has_value(), kInvalidArgument,
            "expected UTF-8 text, got bytes that are not; convert the prompt to UTF-8");
  const std::u32string unescaped = html_unescape(html_unescape(fix_text(*text)));
  const std::u32string collapsed = collapse_white_space(strip(unescaped, is_python_space));
  return u32_to_utf8(strip(collapsed, is_python_space));
}

}  // namespace wan
