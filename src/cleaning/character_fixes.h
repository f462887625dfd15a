#pragma once
// The character-level steps of ftfy.fix_text, each on its own. None of them can make an empty change twice.

#include <string>

namespace wan {

/// Latin ligatures and digraphs (fi, ij, dz ...) as the letters they are made of.
std::u32string split_latin_ligatures(const std::u32string& text);
/// Full-width ASCII, half-width katakana and Hangul, and the ideographic space, in their usual width.
std::u32string fix_character_width(const std::u32string& text);
/// Curly quotes, and the modifier letter apostrophe, as straight ones.
void uncurl_quotes(std::u32string& text);
/// CRLF, CR, U+2028, U+2029 and U+0085 as line feeds.
std::u32string fix_line_breaks(const std::u32string& text);
/// Removes the terminal escapes that set colours, move the cursor and so on: ESC [ digits and semicolons
/// letter.
std::u32string remove_terminal_escapes(const std::u32string& text);
/// Removes control characters without a displayed effect: of ASCII all but tab, line feed, form feed and
/// carriage return, deprecated Arabic ones, interlinear annotation, the object replacement character, the
/// byte order mark.
void remove_control_characters(std::u32string& text);

}  // namespace wan
