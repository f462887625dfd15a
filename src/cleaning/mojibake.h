#pragma once
// Undoing mojibake: text that was UTF-8 and was decoded as something else, once or several times.

#include <string>

namespace wan {

/// ftfy's fix_encoding with its default options; text that does not look wrong comes back as it is. No C1 control that Windows-1252
/// gives a meaning to is left.
std::u32string fix_encoding(std::u32string text);

}  // namespace wan
