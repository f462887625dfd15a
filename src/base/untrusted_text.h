#pragma once
// Names and texts that come out of files: shown to a person only after quoting or cutting, accepted only as UTF-8.

#include <string>
#include <string_view>

namespace wan {

/// 'name' for a message: control characters and bytes outside ASCII become '?', long names are cut in the
/// middle.
std::string quote_name(std::string_view name);

/// `text` for a message, cut in the middle where it is long; a file may hold megabytes where a word was expected.
std::string shortened(std::string_view text);

/// The reason in a message of the JSON library, which begins with a code and ends with what it has read: that may be the
/// whole file.
std::string json_reason(std::string_view message);

/// True for well-formed UTF-8 (no surrogates, no overlong forms) without NUL.
bool is_plain_utf8(std::string_view text);

}  // namespace wan
