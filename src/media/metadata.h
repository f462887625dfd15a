#pragma once
// What a video was made from, as ordered key/value pairs that travel inside the file.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wan {

/// Keys in the order in which they are to appear (prompt, seed, model, ...); values are UTF-8.
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// Throws InvalidArgument unless every key is 1 to 79 printable ASCII characters without spaces at its ends
/// (PNG's rule, the strictest of the formats) and no two are equal.
void check_metadata(const Metadata& metadata);

/// One JSON object of strings, in order; bytes that are not UTF-8 become U+FFFD.
std::string metadata_json(const Metadata& metadata);

/// A title from a prompt: white space collapsed, and past 80 code points cut at a word's end (or, where words
/// are long or not separated by spaces, between code points) with an ellipsis.
std::string title_of(std::string_view prompt);

/// `metadata` with two pairs in front that general players show, unless it has them: `title_key` (the
/// "prompt" pair's title, where there is one) and `comment_key` (all of `metadata` as JSON).
Metadata with_title_and_comment(const Metadata& metadata, const std::string& title_key,
                                const std::string& comment_key);

/// The value of the first pair with `key`, empty where there is none.
std::string_view metadata_value(const Metadata& metadata, std::string_view key);

}  // namespace wan
