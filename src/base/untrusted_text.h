#pragma once
// Names and texts that come out of files or from a user: shown to a person only after escaping, quoting or cutting,
// accepted only as UTF-8. Whatever reaches a terminal has passed one of these functions: a terminal obeys the control
// characters of what it is shown.

#include <string>
#include <string_view>

namespace wan {

/// `text` on one line for a person, its other characters as they are. Escaped are control characters (\n, \t, \r, \x1b;
/// those past ASCII as \u009b), the separators of lines and the marks that turn the direction of text (\u202e), and bytes
/// that are not UTF-8 (\xe9).
std::string shown(std::string_view text);

/// shown(), but for line breaks before two spaces: so the lists in this program's own messages go on, which no line that
/// a program begins can be taken for.
std::string shown_message(std::string_view text);

/// A JSON document of the JSON library with what shown() escapes escaped inside its strings: the same document. The library
/// itself escapes what JSON demands, ASCII's control characters but DEL.
std::string shown_json(std::string_view document);

/// `text` with what shown() escapes replaced by `with`, a character each: as a part of a file's name.
std::string without_controls(std::string_view text, char with);

/// 'name' for a message: control characters and bytes outside ASCII become '?', long names are cut in the
/// middle.
std::string quote_name(std::string_view name);

/// shown(text) for a message, cut in the middle where it is long; a file may hold megabytes where a word was expected.
std::string shortened(std::string_view text);

/// The reason in a message of the JSON library, which begins with a code and ends with what it has read: that may be the
/// whole file.
std::string json_reason(std::string_view message);

/// True for well-formed UTF-8 (no surrogates, no overlong forms) without NUL.
bool is_plain_utf8(std::string_view text);

}  // namespace wan
