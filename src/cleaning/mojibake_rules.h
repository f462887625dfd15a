#pragma once
// Whether text looks like mojibake, and where in it UTF-8 was read as a single-byte encoding.

#include <cstddef>
#include <string_view>

namespace wan {

/// ftfy's heuristic: true if some sequence of characters in `text` is much likelier to be mojibake than
/// meant.
bool looks_like_mojibake(std::u32string_view text);

/// The end of the run of UTF-8-like sequences that starts at text[at], or `at` if none does. A run never
/// starts right after a character that can only be the continuation of one.
std::size_t utf8_like_run_end(std::u32string_view text, std::size_t at);

}  // namespace wan
