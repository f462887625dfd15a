#include "tokenizers/byte_level_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/mapped_file.h"
#include "base/untrusted_text.h"
#include "json/json_reader.h"
#include "json/strict_json.h"
#include "text/unicode.h"
#include "tokenizers/tokenizer_config.h"

namespace wan {
namespace {

/// How GPT-2 cuts text, which ByteLevel does where the file does not cut otherwise.
constexpr std::u32string_view kGpt2Pattern =
    U"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

[[noreturn]] void fail_kind(const JsonReader& json, const std::string& found, const char* known) {
  fail(ErrorCode::kUnsupported, "[{}] expected {}, got \"{}\"; use the tokenizer.json of Qwen2.5",
       json.place(), known, shortened(found));
}

void expect_text_or_nothing(const JsonReader& json, const char* key) {
  if (const auto value = json.find(key))
    if (!value->text().empty()) fail_kind(*value, value->text(), "nothing");
}

PreTokenizerPtr read_byte_level(const JsonReader& json) {
  if (json.boolean_or("add_prefix_space", false)) fail_kind(json, "add_prefix_space", "no such option");
  if (json.boolean_or("use_regex", true)) return make_split_pre_tokenizer(kGpt2Pattern);
  return nullptr;
}

PreTokenizerPtr read_split(const JsonReader& json) {
  if (json.at("behavior").text() != "Isolated") fail_kind(json, json.at("behavior").text(), "Isolated");
  if (json.boolean_or("invert", false)) fail_kind(json, "invert", "no such option");
  return make_split_pre_tokenizer(points_of(json.at("pattern").at("Regex")));
}

/// Appends the steps; ByteLevel without a pattern is none.
void read_pre_tokenizer_steps(const JsonReader& json, std::vector<PreTokenizerPtr>& steps, int depth = 0) {
  constexpr int kDeepest = 8;
  WAN_CHECK(depth < kDeepest, kBadFile, "[{}] expected at most {} nested sequences; replace the file",
            json.place(), kDeepest);
  const std::string type = json.at("type").text();
  if (type == "Sequence") {
    for (const JsonReader& step : json.at("pretokenizers").elements())
      read_pre_tokenizer_steps(step, steps, depth + 1);
  } else if (type == "Split") {
    steps.push_back(read_split(json));
  } else if (type == "Digits") {
    steps.push_back(make_digits_pre_tokenizer(
        json.boolean_or("individual_digits", false) ? DigitRuns::kEachAlone : DigitRuns::kTogether));
  } else if (type == "ByteLevel") {
    if (PreTokenizerPtr step = read_byte_level(json)) steps.push_back(std::move(step));
  } else {
    fail_kind(json, type, "Sequence, Split, Digits or ByteLevel");
  }
}

TextNormalizerPtr read_unicode_form(const JsonReader& json) {
  const std::string type = json.at("type").text();
  if (type == "NFC") return make_unicode_normalizer(UnicodeForm::kNfc);
  if (type == "Sequence" && json.at("normalizers").elements().empty()) return nullptr;
  fail_kind(json, type, "NFC");
}

BpeMerge read_merge(const JsonReader& json) {
  if (json.is_string()) {
    const std::u32string both = points_of(json);
    const std::size_t space = both.find(U' ');
    WAN_CHECK(space != both.npos && space > 0 && space + 1 < both.size(), kBadFile,
              "[{}] expected two pieces with a space between; replace the file", json.place());
    return {both.substr(0, space), both.substr(space + 1)};
  }
  const auto halves = json.elements();
  WAN_CHECK(halves.size() == 2, kBadFile, "[{}] expected two pieces, got {}; replace the file", json.place(),
            halves.size());
  return {points_of(halves[0]), points_of(halves[1])};
}

BpeModel read_bpe_model(const JsonReader& json) {
  if (json.at("type").text() != "BPE") fail_kind(json, json.at("type").text(), "BPE");
  for (const char* flag : {"byte_fallback", "ignore_merges"})
    if (json.boolean_or(flag, false)) fail_kind(json, flag, "no such option");
  expect_text_or_nothing(json, "continuing_subword_prefix");
  expect_text_or_nothing(json, "end_of_word_suffix");
  std::vector<std::pair<std::u32string, std::int64_t>> pieces;
  for (const auto& [name, id] : json.at("vocab").members()) {
    const auto piece = utf8_to_u32(name);
    WAN_CHECK(piece, kBadFile, "[{}] expected UTF-8; replace the file", json.place());
    pieces.emplace_back(*piece, id.integer());
  }
  std::vector<BpeMerge> merges;
  for (const JsonReader& merge : json.at("merges").elements()) merges.push_back(read_merge(merge));
  return BpeModel(pieces, merges);
}

ByteLevelParts read_byte_level_json(std::string_view bytes) {
  const nlohmann::json document = parse_strict_json(bytes, "tokenizer.json", kTokenizerJsonDepth);
  const JsonReader json(document, "tokenizer.json");
  ByteLevelParts parts(read_bpe_model(json.at("model")));
  if (const auto normalizer = json.find("normalizer")) parts.normalizer = read_unicode_form(*normalizer);
  std::vector<PreTokenizerPtr> steps;
  if (const auto pre_tokenizer = json.find("pre_tokenizer")) read_pre_tokenizer_steps(*pre_tokenizer, steps);
  if (!steps.empty()) parts.pre_tokenizer = make_sequence_pre_tokenizer(std::move(steps));
  if (const auto tokens = json.find("added_tokens")) {
    std::vector<AddedToken> added;
    for (const JsonReader& token : tokens->elements()) added.push_back(read_added_token(token));
    parts.added.add(added, parts.model);
  }
  return parts;
}

/// Each longest beginning of a character that is not gone on with is one U+FFFD, as Rust's from_utf8_lossy has it.
std::string replace_malformed(std::string_view bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size();) {
    if (const auto decoded = decode_utf8_at(bytes, at)) {
      out.append(bytes, at, static_cast<std::size_t>(decoded->length));
      at += static_cast<std::size_t>(decoded->length);
      continue;
    }
    append_utf8(out, kReplacementCharacter);
    // A longer beginning of some character: completed with the least continuation that makes it valid.
    std::size_t length = 1;
    const auto begins_character = [&](std::size_t count) {
      std::string start(bytes.substr(at, count));
      for (std::size_t more = 1; more <= 3; ++more)
        for (const char filler : {'\x80', '\xBF'})
          if (const auto decoded = decode_utf8_at(start + std::string(more, filler), 0);
              decoded && static_cast<std::size_t>(decoded->length) == count + more)
            return true;
      return false;
    };
    while (length < 3 && at + length < bytes.size() && begins_character(length + 1)) ++length;
    at += length;
  }
  return out;
}

}  // namespace

ByteLevelTokenizer::ByteLevelTokenizer(ByteLevelParts parts) : parts_(std::move(parts)) {
  parts_.added.prepare(parts_.normalizer.get());
}

std::vector<std::int64_t> ByteLevelTokenizer::encode(std::string_view text) const {
  const auto points = utf8_to_u32(text);
  WAN_CHECK(points.has_value(), kInvalidArgument,
            "[tokenizer] expected UTF-8 text, got bytes that are not; convert the prompt to UTF-8");
  std::vector<std::int64_t> ids;
  for (PromptPart& part : parts_.added.split(*points)) {
    if (part.token) {
      ids.push_back(*part.token);
      continue;
    }
    std::vector<AlignedText> stretches;
    if (parts_.pre_tokenizer)
      parts_.pre_tokenizer->split(std::move(part.text), stretches);
    else
      stretches.push_back(std::move(part.text));
    for (const AlignedText& stretch : stretches) parts_.model.encode(u32_to_utf8(stretch.text), ids);
  }
  return ids;
}

std::string ByteLevelTokenizer::decode(std::span<const std::int64_t> ids) const {
  std::string bytes;
  const auto& added = parts_.added.by_id();
  for (const std::int64_t id : ids) {
    if (const auto token = added.find(id); token != added.end()) {
      if (!token->second.special) bytes += u32_to_utf8(token->second.content);
    } else if (const auto piece = parts_.model.bytes_of(id)) {
      bytes += *piece;
    }
  }
  return replace_malformed(bytes);
}

std::optional<std::int64_t> ByteLevelTokenizer::find(std::string_view content) const {
  const auto points = utf8_to_u32(content);
  if (!points) return std::nullopt;
  if (const auto id = parts_.added.find(*points)) return id;
  return parts_.model.find(*points);
}

std::int64_t ByteLevelTokenizer::vocabulary_size() const {
  const auto& added = parts_.added.by_id();
  return added.empty() ? parts_.model.size() : std::max(parts_.model.size(), added.rbegin()->first + 1);
}

ByteLevelTokenizer load_byte_level_tokenizer(const std::filesystem::path& folder) {
  try {
    const MappedFile file(folder / "tokenizer.json");
    return parse_byte_level_tokenizer(
        {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  } catch (const Error& error) {
    fail(error.code(), "the tokenizer in {}: {}", folder.string(), error.what());
  }
}

ByteLevelTokenizer parse_byte_level_tokenizer(std::string_view json) {
  return ByteLevelTokenizer(read_byte_level_json(json));
}

}  // namespace wan
