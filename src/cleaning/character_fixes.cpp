#include "cleaning/character_fixes.h"

#include <algorithm>
#include <string_view>

#include "text/unicode.h"

namespace wan {
namespace {

struct Ligature {
  char32_t ligature;
  std::u32string_view letters;
};

constexpr Ligature kLigatures[] = {
    {0x0132, U"IJ"},      {0x0133, U"ij"}, {0x0149, U"\u02BCn"}, {0x01C4, U"D\u017D"}, {0x01C5, U"D\u017E"},
    {0x01C6, U"d\u017E"}, {0x01C7, U"LJ"}, {0x01C8, U"Lj"},      {0x01C9, U"lj"},      {0x01CA, U"NJ"},
    {0x01CB, U"Nj"},      {0x01CC, U"nj"}, {0x01F1, U"DZ"},      {0x01F2, U"Dz"},      {0x01F3, U"dz"},
    {0xFB00, U"ff"},      {0xFB01, U"fi"}, {0xFB02, U"fl"},      {0xFB03, U"ffi"},     {0xFB04, U"ffl"},
    {0xFB05, U"\u017Ft"}, {0xFB06, U"st"},
};

bool is_ascii_letter(char32_t c) {
  return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
}

bool is_useless_control(char32_t c) {
  return c <= 0x08 || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || (c >= 0x206A && c <= 0x206F) ||
         c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

}  // namespace

std::u32string split_latin_ligatures(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  for (char32_t c : text) {
    const auto found = std::find_if(std::begin(kLigatures), std::end(kLigatures),
                                    [c](const Ligature& entry) { return entry.ligature == c; });
    if (c < 0x0132 || found == std::end(kLigatures)) {
      out.push_back(c);
    } else {
      out += found->letters;
    }
  }
  return out;
}

std::u32string fix_character_width(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  for (char32_t c : text) {
    if (c == 0x3000) {
      out.push_back(U' ');
    } else if (c >= 0xFF01 && c <= 0xFFEF) {
      out += to_nfkc({&c, 1});
    } else {
      out.push_back(c);
    }
  }
  return out;
}

void uncurl_quotes(std::u32string& text) {
  for (char32_t& c : text) {
    if (c >= 0x201C && c <= 0x201F) c = U'"';
    if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) c = U'\'';
  }
}

std::u32string fix_line_breaks(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char32_t c = text[i];
    if (c == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') continue;
    const bool line_break = c == U'\r' || c == 0x2028 || c == 0x2029 || c == 0x85;
    out.push_back(line_break ? U'\n' : c);
  }
  return out;
}

std::u32string remove_terminal_escapes(const std::u32string& text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == 0x1B && i + 1 < text.size() && text[i + 1] == U'[') {
      std::size_t end = i + 2;
      while (end < text.size() && (text[end] == U';' || is_decimal_digit(text[end]))) ++end;
      if (end < text.size() && is_ascii_letter(text[end])) {
        i = end;
        continue;
      }
    }
    out.push_back(text[i]);
  }
  return out;
}

void remove_control_characters(std::u32string& text) {
  text.erase(std::remove_if(text.begin(), text.end(), is_useless_control), text.end());
}

}  // namespace wan
