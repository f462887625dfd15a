#pragma once
// Undoing mojibake: text that was UTF-8 and was decoded as something else, once or several times.

#include <string>

namespace wan {

/// ftfy's fix_encoding with its default options; text that does not look wrong comes back as it is.
std::u32string fix_encoding(std::u32string text);

/// C1 controls (U+0080 to U+009F) as the Windows-1252 characters that they were meant to be.
void fix_c1_controls(std::u32string& text);

}  // namespace wan
