#include "cleaning/mojibake.h"

#include <algorithm>
#include <optional>

#include "cleaning/mojibake_rules.h"
#include "cleaning/single_byte_codecs.h"
#include "cleaning/utf8_repair.h"
#include "text/unicode.h"

namespace wan {
namespace {

// The text's bytes in `codec`, read as UTF-8 after repairs; nothing if that cannot be.
std::optional<std::u32string> reread_as_utf8(const SingleByteCodec& codec, std::u32string_view text) {
  auto bytes = encode_single_byte(codec, text);
  if (!bytes) return std::nullopt;
  // In MacRoman an en dash and a space would look like an altered sequence.
  if (codec.name != "macroman" && has_altered_utf8(*bytes)) bytes = restore_no_break_spaces(*bytes);
  if (codec.kind == CodecKind::kSloppy) bytes = replace_lossy_sequences(*bytes);
  const bool variants = bytes->find('\xED') != bytes->npos || bytes->find('\xC0') != bytes->npos;
  return variants ? decode_utf8_variants(*bytes) : utf8_to_u32(*bytes);
}

// Fixes, each by itself, the runs that look like UTF-8 and are suspicious even without their surroundings.
std::u32string fix_embedded_runs(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = utf8_like_run_end(text, at);
    if (end == at) {
      out.push_back(text[at++]);
      continue;
    }
    const std::u32string_view run = text.substr(at, end - at);
    // A run that is the whole text would come back here for ever.
    out += run.size() < text.size() ? fix_encoding(std::u32string(run)) : std::u32string(run);
    at = end;
  }
  return out;
}

// C1 controls (U+0080 to U+009F) as the Windows-1252 characters that they were meant to be. ftfy does so again after
// its other steps, and for whole Latin-1 texts before this; neither finds anything that this leaves.
void fix_c1_controls(std::u32string& text) {
  for (char32_t& c : text)
    if (c >= 0x80 && c <= 0x9F) c = windows_1252_for_c1(c);
}

std::u32string fix_encoding_once(const std::u32string& text) {
  const bool ascii = std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; });
  if (ascii || !looks_like_mojibake(text)) return text;
  for (const SingleByteCodec& codec : single_byte_codecs())
    if (auto fixed = reread_as_utf8(codec, text)) return *fixed;
  if (std::u32string fixed = fix_embedded_runs(text); fixed != text) return fixed;
  std::u32string fixed = text;
  fix_c1_controls(fixed);
  return fixed;
}

}  // namespace

std::u32string fix_encoding(std::u32string text) {
  while (true) {
    std::u32string fixed = fix_encoding_once(text);
    if (fixed == text) return text;
    text = std::move(fixed);
  }
}

}  // namespace wan
