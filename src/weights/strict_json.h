#pragma once
// JSON out of untrusted files: well-formed, of bounded depth, without repeated keys.

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

namespace wan {

/// Parses the whole of `text`. Throws BadFile, naming `where`, for malformed JSON or UTF-8, more than
/// `max_depth` nested containers, or a key that stands twice in one object (parsers disagree on which one
/// holds). `remedy` ends the message of malformed JSON.
nlohmann::json parse_strict_json(std::span<const std::byte> text, const std::string& where, int max_depth,
                                 const char* remedy = "the file is damaged, download it again");

}  // namespace wan
