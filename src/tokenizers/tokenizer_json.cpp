// tokenizer.json, the format of Hugging Face's tokenizers: what a T5-like unigram tokenizer may hold.

#include <algorithm>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "json/json_reader.h"
#include "json/strict_json.h"
#include "tokenizers/base64.h"
#include "tokenizers/tokenizer_sources.h"

namespace wan {
namespace {

constexpr int kDeepestSequence = 8;  // of sequences in sequences

[[noreturn]] void fail_unsupported(const JsonReader& json, const std::string& type, const char* known) {
  fail(ErrorCode::kUnsupported, "[{}] expected one of {}, got \"{}\"; use a T5-like tokenizer.json",
       json.place(), known, shortened(type));
}

void check_depth(const JsonReader& json, int depth) {
  WAN_CHECK(depth < kDeepestSequence, kBadFile, "[{}] expected at most {} nested sequences; replace the file",
            json.place(), kDeepestSequence);
}

TextNormalizerPtr read_replace(const JsonReader& json) {
  const JsonReader pattern = json.at("pattern");
  std::u32string content = points_of(json.at("content"));
  if (const auto text = pattern.find("String"))
    return make_replace_string_normalizer(points_of(*text), std::move(content));
  return make_replace_regex_normalizer(points_of(pattern.at("Regex")), std::move(content));
}

TextNormalizerPtr read_normalizer(const JsonReader& json, int depth) {
  const std::string type = json.at("type").text();
  if (type == "Sequence") {
    check_depth(json, depth);
    std::vector<TextNormalizerPtr> steps;
    for (const JsonReader& step : json.at("normalizers").elements())
      steps.push_back(read_normalizer(step, depth + 1));
    return make_sequence_normalizer(std::move(steps));
  }
  if (type == "Precompiled")
    return make_precompiled_normalizer(
        decode_base64(json.at("precompiled_charsmap").text(), json.place() + ".precompiled_charsmap"));
  if (type == "Strip")
    return make_strip_normalizer(
        {.left = json.at("strip_left").boolean(), .right = json.at("strip_right").boolean()});
  if (type == "Replace") return read_replace(json);
  if (type == "Prepend") return make_prepend_normalizer(points_of(json.at("prepend")));
  if (type == "Nmt") return make_nmt_normalizer();
  if (type == "NFC") return make_unicode_normalizer(UnicodeForm::kNfc);
  if (type == "NFD") return make_unicode_normalizer(UnicodeForm::kNfd);
  if (type == "NFKC") return make_unicode_normalizer(UnicodeForm::kNfkc);
  if (type == "NFKD") return make_unicode_normalizer(UnicodeForm::kNfkd);
  fail_unsupported(json, type, "Sequence, Precompiled, Strip, Replace, Prepend, Nmt, NFC, NFD, NFKC, NFKD");
}

PrependScheme read_prepend_scheme(const JsonReader& json) {
  auto scheme = PrependScheme::kAlways;
  if (const auto value = json.find("prepend_scheme")) {
    const std::string name = value->text();
    if (name == "first") {
      scheme = PrependScheme::kFirst;
    } else if (name == "never") {
      scheme = PrependScheme::kNever;
    } else if (name != "always") {
      fail_unsupported(*value, name, "always, first, never");
    }
  }
  WAN_CHECK(json.boolean_or("add_prefix_space", true) || scheme == PrependScheme::kNever, kBadFile,
            "[{}] expected add_prefix_space and prepend_scheme to agree, got false and not \"never\"; set "
            "prepend_scheme to \"never\"",
            json.place());
  return scheme;
}

PreTokenizerPtr read_pre_tokenizer(const JsonReader& json, int depth) {
  const std::string type = json.at("type").text();
  if (type == "Sequence") {
    check_depth(json, depth);
    std::vector<PreTokenizerPtr> steps;
    for (const JsonReader& step : json.at("pretokenizers").elements())
      steps.push_back(read_pre_tokenizer(step, depth + 1));
    return make_sequence_pre_tokenizer(std::move(steps));
  }
  if (type == "WhitespaceSplit") return make_whitespace_split_pre_tokenizer();
  if (type == "Metaspace") {
    const std::u32string replacement = points_of(json.at("replacement"));
    WAN_CHECK(replacement.size() == 1, kBadFile,
              "[{}.replacement] expected one character, got {}; replace the file", json.place(),
              replacement.size());
    MetaspaceOptions options;
    options.replacement = replacement.front();
    options.prepend = read_prepend_scheme(json);
    options.split =
        json.boolean_or("split", true) ? MetaspaceSplit::kBeforeReplacement : MetaspaceSplit::kNone;
    return make_metaspace_pre_tokenizer(options);
  }
  fail_unsupported(json, type, "Sequence, WhitespaceSplit, Metaspace");
}

TokenTemplate read_template(const JsonReader& json) {
  const std::string type = json.at("type").text();
  if (type != "TemplateProcessing") fail_unsupported(json, type, "TemplateProcessing");
  const JsonReader special_tokens = json.at("special_tokens");
  TokenTemplate result;
  int sequences = 0;
  for (const JsonReader& piece : json.at("single").elements()) {
    if (const auto sequence = piece.find("Sequence")) {
      const std::string id = sequence->at("id").text();
      if (id != "A") fail_unsupported(*sequence, id, "A");
      ++sequences;
      continue;
    }
    const std::string name = piece.at("SpecialToken").at("id").text();
    auto& ids = sequences == 0 ? result.before : result.after;
    for (const JsonReader& id : special_tokens.at(name).at("ids").elements()) ids.push_back(id.integer());
  }
  WAN_CHECK(sequences == 1, kUnsupported,
            "[{}.single] expected the text once in the template, got it {} times", json.place(), sequences);
  return result;
}

UnigramModel read_model(const JsonReader& json) {
  const std::string type = json.at("type").text();
  if (type != "Unigram") fail_unsupported(json, type, "Unigram");
  const JsonReader vocab = json.at("vocab");
  std::vector<UnigramPiece> pieces;
  for (const JsonReader& entry : vocab.elements()) {
    const auto fields = entry.elements();
    WAN_CHECK(fields.size() == 2, kBadFile,
              "[{}] expected pairs of piece and score, got {} values; replace the file", entry.place(),
              fields.size());
    pieces.push_back({points_of(fields[0]), fields[1].number()});
  }
  std::optional<std::int64_t> unknown_id;
  if (const auto id = json.find("unk_id")) unknown_id = id->integer();
  const auto fallback = json.boolean_or("byte_fallback", false) ? ByteFallback::kOn : ByteFallback::kOff;
  return UnigramModel(std::move(pieces), unknown_id, fallback);
}

// Truncation and padding are the caller's; only a direction that the file sets would shine through.
void check_directions(const JsonReader& json) {
  for (const char* key : {"truncation", "padding"})
    if (const auto section = json.find(key))
      if (const auto direction = section->find("direction"))
        if (direction->text() != "Right") fail_unsupported(*direction, direction->text(), "Right");
}

}  // namespace

TokenizerParts read_tokenizer_json(std::string_view bytes) {
  const nlohmann::json document = parse_strict_json(bytes, "tokenizer.json", kTokenizerJsonDepth);
  const JsonReader json(document, "tokenizer.json");
  if (const auto version = json.find("version"))
    if (version->text() != "1.0") fail_unsupported(*version, version->text(), "1.0");
  check_directions(json);

  TokenizerParts parts(read_model(json.at("model")));
  if (const auto normalizer = json.find("normalizer")) parts.normalizer = read_normalizer(*normalizer, 0);
  if (const auto pre_tokenizer = json.find("pre_tokenizer"))
    parts.pre_tokenizer = read_pre_tokenizer(*pre_tokenizer, 0);
  if (const auto processor = json.find("post_processor")) parts.token_template = read_template(*processor);
  if (const auto tokens = json.find("added_tokens")) {
    std::vector<AddedToken> added;
    for (const JsonReader& token : tokens->elements()) added.push_back(read_added_token(token));
    parts.added.add(added, parts.model);
  }
  return parts;
}

}  // namespace wan
