#pragma once
// Bytes that were meant as UTF-8 but suffered on the way: lost characters, no-break spaces turned into
// spaces, CESU-8 surrogates. After the byte-level steps of ftfy's fix_encoding.

#include <optional>
#include <string>
#include <string_view>

namespace wan {

/// Whether some sequence would be valid UTF-8 if one 0x20 in it were 0xA0.
bool has_altered_utf8(std::string_view bytes);

/// Puts the 0xA0 back into such sequences; a lone "\xC3 " becomes an a-grave followed by a space.
std::string restore_no_break_spaces(std::string_view bytes);

/// Replaces UTF-8 sequences in which bytes were lost (0x1A, in places '?') by U+FFFD.
std::string replace_lossy_sequences(std::string_view bytes);

/// UTF-8 that may also hold CESU-8 surrogate pairs and Java's C0 80 for U+0000.
std::optional<std::u32string> decode_utf8_variants(std::string_view bytes);

}  // namespace wan
