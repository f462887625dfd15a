#pragma once
// JSON that others have written, out of files and lines of text: the one place that parses any. Well-formed, of bounded size and
// depth, without repeated keys.

#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

namespace wan {

/// The remedy for what was downloaded.
inline constexpr const char* kDamagedJson = "the file is damaged, download it again";

/// Bytes of one document: four times the largest, the tokenizer.json of umT5.
inline constexpr std::size_t kMostJsonBytes = std::size_t{64} << 20;

/// Parses the whole of `text`. Throws BadFile, naming `where`, for malformed JSON or UTF-8, more than kMostJsonBytes or
/// `max_depth` nested containers, or a key that stands twice in one object (parsers disagree on which one
/// holds). `remedy` ends the message.
nlohmann::json parse_strict_json(std::string_view text, const std::string& where, int max_depth,
                                 const char* remedy = kDamagedJson);
nlohmann::json parse_strict_json(std::span<const std::byte> text, const std::string& where, int max_depth,
                                 const char* remedy = kDamagedJson);

/// The file's document. Throws BadFile, naming `path`, also where there is no such file or it cannot be read.
nlohmann::json read_json_file(const std::filesystem::path& path, int max_depth,
                              const char* remedy = kDamagedJson);

}  // namespace wan
