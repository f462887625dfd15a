#include "tokenizers/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "json/json_reader.h"
#include "json/strict_json.h"
#include "text/unicode.h"

namespace wan {
namespace {

// In this order transformers looks at them; T5's own defaults stand where a file names none.
struct NamedToken {
  const char* key;
  std::u32string_view otherwise;
};
constexpr NamedToken kNamedTokens[] = {
    {"bos_token", U""},      {"eos_token", U"</s>"}, {"unk_token", U"<unk>"}, {"sep_token", U""},
    {"pad_token", U"<pad>"}, {"cls_token", U""},     {"mask_token", U""},
};
constexpr std::int64_t kDefaultExtraIds = 100;
constexpr std::int64_t kMostExtraIds = 10000;
constexpr const char* kConfigPlace = "tokenizer_config.json";

std::u32string extra_id(std::int64_t i) {
  return *utf8_to_u32(fmt::format("<extra_id_{}>", i));
}

// A name, or an object with flags; special tokens are looked for in the text as it is unless an object says otherwise.
SpecialToken read_special(const JsonReader& json) {
  if (json.is_string()) return {points_of(json), std::nullopt};
  AddedToken token = read_added_token(json);
  token.special = true;
  token.normalized = json.boolean_or("normalized", false);
  return {token.content, token};
}

void read_special_tokens(const JsonReader& json, TokenizerConfig& config) {
  for (const NamedToken& named : kNamedTokens)
    if (const auto value = json.find(named.key)) config.named[named.key] = read_special(*value);
  if (const auto list = json.find("additional_special_tokens")) {
    for (const JsonReader& element : list->elements()) {
      SpecialToken token = read_special(element);
      const bool known = std::any_of(config.additional.begin(), config.additional.end(),
                                     [&](const SpecialToken& t) { return t.content == token.content; });
      if (!known) config.additional.push_back(std::move(token));
    }
  }
}

std::map<std::int64_t, AddedToken> read_added_tokens_decoder(const JsonReader& json) {
  std::map<std::int64_t, AddedToken> tokens;
  for (const auto& [key, value] : json.members()) {
    std::int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    WAN_CHECK(error == std::errc() && end == key.data() + key.size() && id >= 0, kBadFile,
              "[{}] expected token ids as names, got \"{}\"; replace the file", json.place(), shortened(key));
    tokens[id] = read_added_token(value);
  }
  return tokens;
}

void complete_extra_ids(TokenizerConfig& config) {
  const auto is_extra = [](const SpecialToken& t) { return t.content.find(U"<extra_id_") != t.content.npos; };
  const std::int64_t named = std::count_if(config.additional.begin(), config.additional.end(), is_extra);
  const std::int64_t wanted = config.spiece.extra_ids;
  if (named == 0)
    for (std::int64_t i = 0; i < wanted; ++i) config.additional.push_back({extra_id(i), std::nullopt});
  WAN_CHECK(
      named == 0 || wanted == 0 || named == wanted, kBadFile,
      "[{}] expected as many <extra_id_N> among additional_special_tokens as extra_ids says, {}, got {}; "
      "replace the file",
      kConfigPlace, wanted, named);
}

}  // namespace

std::u32string points_of(const JsonReader& json) {
  const auto points = utf8_to_u32(json.text());
  WAN_CHECK(points, kBadFile, "[{}] expected UTF-8; replace the file", json.place());
  return *points;
}

AddedToken read_added_token(const JsonReader& json) {
  AddedToken token;
  token.content = points_of(json.at("content"));
  token.special = json.boolean_or("special", false);
  token.single_word = json.boolean_or("single_word", false);
  token.lstrip = json.boolean_or("lstrip", false);
  token.rstrip = json.boolean_or("rstrip", false);
  token.normalized = json.boolean_or("normalized", !token.special);
  return token;
}

TokenizerConfig read_tokenizer_config(std::string_view config_json, std::string_view special_tokens_json) {
  TokenizerConfig config;
  if (config_json.empty()) return config;
  const nlohmann::json document = parse_strict_json(config_json, kConfigPlace, kTokenizerJsonDepth);
  const JsonReader json(document, kConfigPlace);

  for (const char* side : {"truncation_side", "padding_side"})
    if (const auto value = json.find(side))
      WAN_CHECK(value->text() == "right", kUnsupported, "[{}] expected {} \"right\", got \"{}\"; remove it",
                kConfigPlace, side, value->text());

  const auto extra_ids = json.find("extra_ids");
  config.spiece.extra_ids = extra_ids ? extra_ids->integer() : kDefaultExtraIds;
  WAN_CHECK(config.spiece.extra_ids <= kMostExtraIds, kBadFile,
            "[{}] expected at most {} extra_ids, got {}; replace the file", kConfigPlace, kMostExtraIds,
            config.spiece.extra_ids);
  const auto add_prefix_space = json.find("add_prefix_space");
  config.rebuild_from_spiece = add_prefix_space.has_value();
  if (document.contains("add_prefix_space") && !json.boolean_or("add_prefix_space", false)) {
    config.spiece.prepend = PrependScheme::kNever;
  } else if (!json.boolean_or("legacy", true)) {
    config.spiece.prepend = PrependScheme::kFirst;
  }

  read_special_tokens(json, config);
  if (const auto decoder = json.find("added_tokens_decoder")) {
    config.added_tokens = read_added_tokens_decoder(*decoder);
  } else if (!special_tokens_json.empty()) {
    const nlohmann::json map =
        parse_strict_json(special_tokens_json, "special_tokens_map.json", kTokenizerJsonDepth);
    read_special_tokens(JsonReader(map, "special_tokens_map.json"), config);
  }
  // A name that the decoder has too stands for the decoder's token, flags and all.
  for (auto& [key, token] : config.named)
    for (const auto& [id, added] : config.added_tokens)
      if (added.content == token.content) token.flags = added;
  for (const NamedToken& named : kNamedTokens)
    if (!named.otherwise.empty())
      config.named.try_emplace(named.key, SpecialToken{std::u32string(named.otherwise), std::nullopt});
  complete_extra_ids(config);
  return config;
}

void add_configured_tokens(const TokenizerConfig& config, const Vocabulary& model, AddedVocabulary& added) {
  std::vector<const SpecialToken*> special;
  std::set<std::u32string> special_contents;
  const auto consider = [&](const SpecialToken& token) {
    if (!token.content.empty() && special_contents.insert(token.content).second) special.push_back(&token);
  };
  for (const NamedToken& named : kNamedTokens)
    if (const auto found = config.named.find(named.key); found != config.named.end()) consider(found->second);
  for (const SpecialToken& token : config.additional) consider(token);

  std::vector<AddedToken> tokens;
  std::set<std::u32string> planned;
  for (const auto& [id, token] : config.added_tokens) {
    if (added.has(token)) continue;
    tokens.push_back(token);
    tokens.back().special |= special_contents.contains(token.content);
    planned.insert(token.content);
  }
  for (const SpecialToken* token : special) {
    if (token->flags) {
      tokens.push_back(*token->flags);
      tokens.back().special = true;
    } else if (!added.find(token->content) && !planned.contains(token->content)) {
      AddedToken plain;
      plain.content = token->content;
      plain.special = true;
      tokens.push_back(plain);
    }
  }
  added.add(tokens, model);
}

}  // namespace wan
