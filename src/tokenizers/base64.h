#pragma once
// Base64 (RFC 4648, section 4), strictly: padded, no line breaks.

#include <string>
#include <string_view>

namespace wan {

/// Throws BadFile, naming `place`, where `text` is not base64.
std::string decode_base64(std::string_view text, const std::string& place);

std::string encode_base64(std::string_view bytes);

}  // namespace wan
