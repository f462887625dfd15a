#pragma once
// What the official code does to a prompt before it is tokenized.

#include <string>
#include <string_view>

namespace wan {

/// ftfy 6.3.1's fix_text with its default options, HTML references resolved twice, runs of whitespace made
/// one space, none at the ends. UTF-8 in and out; throws InvalidArgument when the input is not UTF-8.
std::string clean_prompt(std::string_view utf8);

/// ftfy's fix_text alone, on code points.
std::u32string fix_text(std::u32string_view text);

}  // namespace wan
