#pragma once
// Character references of HTML: the browser's lenient rules, and the strict ones that ftfy applies to plain
// text.

#include <string>
#include <string_view>

namespace wan {

/// Python's html.unescape: HTML5's rules for named (longest prefix, semicolon optional) and numeric
/// references, valid or not.
std::u32string html_unescape(std::u32string_view text);

/// ftfy's unescape_html: only references that end in a semicolon, and lower-case names written in capitals
/// (&NTILDE;) as the capital letter.
std::u32string unescape_plain_entities(std::u32string_view text);

}  // namespace wan
