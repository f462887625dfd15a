#pragma once
// Names that come out of files: shown to a person only after quoting, accepted only as UTF-8.

#include <string>
#include <string_view>

namespace wan {

/// 'name' for a message: control characters and bytes outside ASCII become '?', long names are cut in the
/// middle.
std::string quote_name(std::string_view name);

/// True for well-formed UTF-8 (no surrogates, no overlong forms) without NUL.
bool is_plain_utf8(std::string_view text);

}  // namespace wan
